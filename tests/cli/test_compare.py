"""``lrscape compare``: several surfaces in one table and one figure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import landscape
from lrscape.cli import main
from lrscape.cli.describe import describe
from lrscape.landscape import LossSurface


def bowl(points, factor=1.0, **provenance):
    losses = 1 + factor * (points.coordinates**2).sum(axis=1)
    return LossSurface(points.coordinates, losses, points.shape, {"top1": 1 / losses}, provenance=provenance)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {
        "a": bowl(landscape.grid(5), norm="filter"),
        "b": bowl(landscape.grid(5), 3.0, norm="filter"),
        "la": bowl(landscape.line(5)),
        "lb": bowl(landscape.line(5), 2.0),
        "cube": bowl(landscape.grid(3, dims=3)),
        "sparse": bowl(landscape.sparse_stencil()),
        "aside": bowl(landscape.grid(4, span=(1, 2))),
        "other": bowl(landscape.grid(7), norm="none"),
    }
    for name, surface in made.items():
        surface.save(f"{name}.npz")
    return made


def test_table(files, capsys):
    assert main(["compare", "a.npz", "b.npz"]) == 0
    out, err = capsys.readouterr()
    head, first, second = out.splitlines()
    assert head.split() == ["surface", "centre", "lowest", "at", "sharpness", "curvature", "roughness"]
    assert first.split()[:4] == ["a", "1", "1", "(0,"]
    assert "6, 6" in second
    assert err == ""


@pytest.mark.parametrize(("name", "factor"), [("a", 1.0), ("b", 3.0)])
def test_two_dimensions_are_as_features_say(files, name, factor):
    found, features = describe(files[name]), landscape.features(files[name])
    assert found["sharpness"] == pytest.approx(features.sharpness, rel=1e-12)
    assert found["eigenvalues"] == pytest.approx(features.fit.eigenvalues, rel=1e-9)
    assert found["eigenvalues"] == pytest.approx([2 * factor, 2 * factor])
    assert found["roughness"] == pytest.approx(0, abs=1e-9)


def test_any_dimension(files, capsys):
    names = ["la", "lb", "cube", "sparse", "aside"]
    assert main(["compare", *[f"{name}.npz" for name in names], "--json"]) == 0
    rows = {Path(row["surface"]).stem: row for row in json.loads(capsys.readouterr().out)["surfaces"]}
    assert rows["lb"]["eigenvalues"] == pytest.approx([4.0])
    assert rows["cube"]["eigenvalues"] == pytest.approx([2.0] * 3)
    assert rows["sparse"]["sharpness"] is None
    assert rows["sparse"]["roughness"] == pytest.approx(0, abs=1e-6)
    assert (rows["aside"]["center"], rows["aside"]["sharpness"]) == (None, None)
    assert main(["compare", "aside.npz", "a.npz"]) == 0
    assert "–" in capsys.readouterr().out


def test_what_was_not_measured_alike_is_told(files, capsys):
    assert main(["compare", "a.npz", "other.npz"]) == 0
    assert capsys.readouterr().err == "not measured alike: norm (filter, none); points\n"


def test_metric(files, capsys):
    assert main(["compare", "a.npz", "b.npz", "--metric", "top1", "--json", "-o", "m.png", "--dpi", "40"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metric"] == "top1"
    assert record["surfaces"][1]["minimum"] == pytest.approx(1 / 7)
    assert main(["compare", "a.npz", "b.npz", "--metric", "nose"]) == 1
    err = capsys.readouterr().err
    assert "a.npz: metric 'nose'" in err
    assert "top1" in err


@pytest.mark.parametrize("names", [("a.npz", "b.npz"), ("la.npz", "lb.npz"), ("a.npz", "b.npz", "other.npz")])
def test_figure(files, capsys, names):
    assert main(["compare", *names, "-o", "sub/f.png", "--dpi", "40", "--log"]) == 0
    assert Path("sub/f.png").read_bytes().startswith(b"\x89PNG")
    assert "sub/f.png" in capsys.readouterr().out
    assert plt.get_fignums() == []


def test_values_that_are_not_finite(files, capsys):
    losses = np.full(25, np.nan)
    replace(files["a"], losses=losses).save("nan.npz")
    assert main(["compare", "a.npz", "nan.npz", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["surfaces"][1]
    assert (row["not_finite"], row["minimum"], row["center"]) == (25, None, None)
    assert main(["compare", "a.npz", "nan.npz"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["a.npz"], 2, ["at least two", "lrscape plot"]),
        (["a.npz", "a.npz"], 2, ["at least two"]),
        (["a.npz", "none.npz"], 1, ["there is no surface none.npz"]),
        (["a.npz", "text.npz"], 1, ["text.npz is not a loss surface"]),
        (["a.npz", "b.npz", "-o", "f.bmp"], 2, ["--out must end in"]),
        (["a.npz", "b.npz", "-o", "folder.png"], 1, ["is a folder"]),
        (["a.npz", "b.npz", "--dpi", "0"], 2, ["--dpi"]),
    ],
)
def test_bad_arguments(files, capsys, arguments, code, parts):
    Path("text.npz").write_text("no surface")
    Path("folder.png").mkdir()
    assert main(["compare", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    for part in parts:
        assert part in err, err
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["a.npz", "la.npz"], ["1-D and 2-D"]),
        (["cube.npz", "cube2.npz"], ["all 1-D or all 2-D"]),
        (["nan.npz", "nan2.npz"], ["finite"]),
        (
            ["a.npz", "negative.npz", "--log"],
            ["negative.npz: --log needs losses above 0, but 25 of 25", "leave out"],
        ),
    ],
)
def test_the_table_is_printed_even_if_the_figure_cannot_be_drawn(files, capsys, arguments, parts):
    files["cube"].save("cube2.npz")
    for name, losses in (("nan", np.full(25, np.nan)), ("nan2", np.full(25, np.inf)), ("negative", np.full(25, -1.0))):
        replace(files["a"], losses=losses).save(f"{name}.npz")
    assert main(["compare", *arguments]) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 3
    assert main(["compare", *arguments, "-o", "f.png"]) == 1
    out, err = capsys.readouterr()
    assert out == table
    for part in parts:
        assert part in err, err
    assert "log=" not in err
    assert main(["compare", *arguments, "-o", "f.png", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["figure"] is None
    assert not Path("f.png").exists()
    assert plt.get_fignums() == []
