"""Files are valid, reproducible, and whole or absent."""

from xml.etree import ElementTree

import pytest
from matplotlib import image
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lrscape import viz


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "PNG"])
def test_files_are_valid_and_reproducible(surface, tmp_path, suffix):
    written = []
    for name in "ab":
        path = viz.save(viz.contour(surface), tmp_path / f"{name}.{suffix}", dpi=50)
        written.append(path.read_bytes())
    if suffix.lower() == "png":
        assert image.imread(path, format="png").ndim == 3
    elif suffix == "svg":
        assert ElementTree.fromstring(written[0]).tag.endswith("svg")
    else:
        assert written[0].startswith(b"%PDF")
        assert written[0].rstrip().endswith(b"%%EOF")
        assert b"/Type3" not in written[0]
    assert written[0] == written[1]
    assert sorted(item.name for item in tmp_path.iterdir()) == [f"{name}.{suffix}" for name in "ab"]


def test_size_and_resolution_are_kept(surface, tmp_path):
    ax = viz.contour(surface)
    ax.figure.set_size_inches(3.4, 3.0)
    viz.save(ax, tmp_path / "column.png", dpi=100)
    assert image.imread(tmp_path / "column.png").shape[:2] == (300, 340)


def test_takes_figures_and_subfigures(tmp_path):
    figure = Figure()
    part = figure.subfigures(1, 2)[0]
    viz.save(part, tmp_path / "part.png", dpi=20)
    viz.save(figure, tmp_path / "whole.png", dpi=20)
    assert (tmp_path / "part.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


@pytest.mark.parametrize("name", ["figure.bmp", "figure", "figure.tar.gz"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in \.png, \.pdf or \.svg"):
        viz.save(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_other_errors(tmp_path):
    with pytest.raises(TypeError, match="figure must be a matplotlib Figure or Axes, got str"):
        viz.save("figure", tmp_path / "a.png")
    with pytest.raises(OSError, match="choose a folder that exists"):
        viz.save(Figure(), tmp_path / "none" / "a.png")


def test_a_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"older")
    figure = plt.figure()
    figure.add_subplot().set_title("$unbalanced^{$")
    with pytest.raises(ValueError, match="unbalanced"):
        viz.save(figure, path)
    assert path.read_bytes() == b"older"
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]
