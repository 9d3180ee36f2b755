"""Files for ParaView, read back by their definition and, where it is there, by VTK itself."""

import base64
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from lrscape import viz
from lrscape.landscape import LossSurface, grid, line, points


def read(path):
    """Read image data: origin, spacing, arrays with the first direction fastest, and the notes."""
    image = ElementTree.parse(path).getroot()[0]
    ends = [int(number) for number in image.get("WholeExtent").split()]
    shape = [ends[2 * i + 1] - ends[2 * i] + 1 for i in range(3)]
    arrays = {}
    for item in image.find("Piece/PointData"):
        raw = base64.b64decode(item.text)
        assert int(np.frombuffer(raw[:8], np.uint64)[0]) == len(raw) - 8
        arrays[item.get("Name")] = np.frombuffer(raw[8:], np.float64).reshape(shape, order="F")
    codes = image.find("FieldData/DataArray").text.split()
    assert codes[-1] == "0"
    notes = json.loads(bytes(map(int, codes[:-1])))
    numbers = [[float(number) for number in image.get(name).split()] for name in ("Origin", "Spacing")]
    return *numbers, arrays, notes


@pytest.fixture
def cube():
    made = grid((3, 4, 5), span=((0, 1), (-1, 2), (-2, 2)), dims=3)
    losses = made.coordinates @ [1.0, 10.0, 100.0]
    return LossSurface(made.coordinates, losses, made.shape, {"top <1> & 2": -losses}, np.full(60, 0.5), {"seed": 3})


def test_a_cube_comes_back(cube, tmp_path):
    path = viz.to_vti(cube, tmp_path / "cube.vti")
    origin, spacing, arrays, notes = read(path)
    assert (origin, spacing, notes) == ([0.0, -1.0, -2.0], [0.5, 1.0, 1.0], {"seed": 3})
    assert list(arrays) == ["loss", "top <1> & 2", "standard error"]
    for index in np.ndindex(3, 4, 5):
        x, y, z = (first + step * i for first, step, i in zip(origin, spacing, index, strict=True))
        assert arrays["loss"][index] == pytest.approx(x + 10 * y + 100 * z)
    assert (arrays["top <1> & 2"] == -arrays["loss"]).all()


def test_planes_lines_arrays_and_holes(surface, profile, tmp_path):
    losses = surface.losses.copy()
    losses[0], losses[5] = np.inf, np.nan
    arrays = read(viz.to_vti(replace(surface, losses=losses), tmp_path / "plane.vti"))[2]
    assert arrays["loss"].shape == (11, 11, 1)
    assert np.isnan(arrays["loss"]).sum() == 2
    assert read(viz.to_vti(profile, tmp_path / "line.VTI"))[2]["standard error"].shape == (9, 1, 1)
    u = np.linspace(0, 1, 3)
    assert list(read(viz.to_vti(np.ones((3, 3)), tmp_path / "array.vti", axes=(u, u), label="energy"))[2]) == ["energy"]


def test_names_that_clash_or_cannot_be_written(surface, tmp_path):
    metrics = {"loss": surface.losses, "a\x00b": surface.losses}
    arrays = read(viz.to_vti(replace(surface, metrics=metrics), tmp_path / "a.vti"))[2]
    assert list(arrays) == ["loss", "metric loss", "a_b"]


def test_vtk_reads_it(cube, tmp_path):
    pytest.importorskip("vtk", reason="the vtk package is not installed")
    from vtk.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(viz.to_vti(cube, tmp_path / "cube.vti")))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetDimensions() == (3, 4, 5)
    assert image.GetSpacing() == (0.5, 1.0, 1.0)
    losses = vtk_to_numpy(image.GetPointData().GetScalars())
    assert losses.reshape(3, 4, 5, order="F") == pytest.approx(cube.values)
    assert image.GetFieldData().GetAbstractArray("provenance").GetValue(0) == '{"seed": 3}'


def test_what_cannot_be_written(surface, tmp_path):
    loose = points(surface.coordinates)
    uneven = [0.0, 1.0, 3.0]
    for data, path, options, match in [
        (surface, "a.vtk", {}, r"path must end in \.vti, got"),
        (LossSurface(loose.coordinates, surface.losses), "a.vti", {}, "121 points do not form a grid"),
        (np.ones((3, 3)), "a.vti", {"axes": (uneven, uneven)}, "coordinates in equal steps"),
        (np.ones((2, 2, 2, 2)), "a.vti", {"axes": ([0, 1],) * 4}, "one to three dimensions, got 4"),
    ]:
        with pytest.raises(ValueError, match=match):
            viz.to_vti(data, tmp_path / path, **options)
    with pytest.raises(TypeError, match="a plain array needs axes="):
        viz.to_vti(np.ones((3, 3)), tmp_path / "a.vti")
    assert not list(tmp_path.iterdir())


def test_a_line_of_one_point(tmp_path):
    one = line(3)
    surface = LossSurface(one.coordinates[1:2], np.ones(1), (1,))
    assert read(viz.to_vti(surface, tmp_path / "one.vti"))[2]["loss"].shape == (1, 1, 1)
