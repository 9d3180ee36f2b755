"""``lrscape plot`` turns a saved surface into files."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import landscape
from lrscape.cli import main
from lrscape.landscape import LossSurface

MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def saved(path, points, shape="own"):
    losses = 1 + (points.coordinates**2).sum(axis=1)
    surface = LossSurface(points.coordinates, losses, points.shape, metrics={"top 1/a": 1 / losses})
    surface.save(path)
    return str(path)


@pytest.fixture
def surface(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return saved(tmp_path / "surface.npz", landscape.grid(5))


def test_all_that_fits_by_default(surface, capsys):
    assert main(["plot", surface, "--dpi", "40"]) == 0
    assert sorted(path.name for path in Path("figures").iterdir()) == ["surface-contour.png", "surface-surface.png"]
    out, err = capsys.readouterr()
    assert out.split() == ["contour", "figures/surface-contour.png", "surface", "figures/surface-surface.png"]
    assert err == ""
    assert plt.get_fignums() == []


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_formats(surface, suffix):
    assert main(["plot", surface, "--kind", "contour", "-o", "a/b", "--format", suffix, "--dpi", "40", "--quiet"]) == 0
    assert Path(f"a/b/surface-contour.{suffix}").read_bytes().startswith(MAGIC[suffix])


def test_line_metric_and_log(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = saved(tmp_path / "l.npz", landscape.line(5))
    assert main(["plot", line, "--log", "--metric", "top 1/a", "--dpi", "40", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"command": "plot", "surface": line, "files": ["figures/l-line-top_1_a.png"]}
    assert Path(result["files"][0]).exists()


def test_figures_are_not_replaced_unless_asked(surface, capsys):
    Path("figures").mkdir()
    Path("figures/surface-surface.png").write_bytes(b"older")
    assert main(["plot", surface, "--dpi", "40"]) == 1
    assert "surface-surface.png exists already; choose another --out, or pass --overwrite" in capsys.readouterr().err
    assert [path.name for path in Path("figures").iterdir()] == ["surface-surface.png"]
    assert Path("figures/surface-surface.png").read_bytes() == b"older"
    assert main(["plot", surface, "--dpi", "40", "--overwrite", "--dark"]) == 0
    assert Path("figures/surface-surface.png").read_bytes().startswith(MAGIC["png"])


def test_files_that_are_no_pictures(surface, capsys):
    pytest.importorskip("plotly", reason="plotly is not installed (extra interactive)")
    assert main(["plot", surface, "--kind", "interactive,paraview", "--log"]) == 0
    assert Path("figures/surface-interactive.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "<VTKFile" in Path("figures/surface-paraview.vti").read_text(encoding="utf-8")


def test_the_same_kind_twice_is_drawn_once(surface, capsys):
    assert main(["plot", surface, "--kind", "contour, contour", "--dpi", "40"]) == 0
    assert capsys.readouterr().out.count("contour.png") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--kind", "countour"], 2, ["contour, surface, line", "got 'countour'"]),
        (["--kind", ","], 2, ["got nothing"]),
        (["--kind", "contour,line"], 1, ["--kind line draws 1-D", "surface.npz is 2-D", "use --kind contour,surface"]),
        (["--format", "bmp"], 2, ["png"]),
        (["--dpi", "-1"], 2, ["positive"]),
        (["--metric", "accuracy"], 1, ["'accuracy'", "top 1/a"]),
        (["-o", "surface.npz"], 1, ["cannot make the folder surface.npz"]),
    ],
)
def test_bad_arguments(surface, capsys, arguments, code, parts):
    assert main(["plot", surface, *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert plt.get_fignums() == []


def test_surfaces_that_cannot_be_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cube = saved(tmp_path / "cube.npz", landscape.grid(3, dims=3))
    scattered = saved(tmp_path / "scattered.npz", landscape.sparse_stencil())
    (tmp_path / "text.npz").write_text("no surface")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for path, part in [
        (cube, f"error: {cube} is 3-D; use --kind"),
        (scattered, "do not form a grid"),
        ("text.npz", "text.npz is not a loss surface"),
        ("other.npz", "other.npz is not a loss surface"),
        ("none.npz", "there is no surface none.npz"),
    ]:
        assert main(["plot", path]) == 1
        err = capsys.readouterr().err
        assert part in err, err
        assert err.count("\n") == 1


def test_a_logarithm_that_does_not_exist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    points = landscape.grid(5)
    losses = (points.coordinates**2).sum(axis=1)
    metrics = {"gap": losses - 1}
    LossSurface(points.coordinates, losses, points.shape, metrics).save("bowl.npz")
    assert main(["plot", "bowl.npz", "--log"]) == 1
    err = capsys.readouterr().err
    assert "bowl.npz: --log needs losses above 0, but 1 of 25 are not (the lowest is 0); leave out --log\n" in err
    assert not Path("figures").exists()
    assert main(["plot", "bowl.npz", "--log", "--metric", "gap"]) == 1
    assert "bowl.npz: --log needs values of 'gap' above 0, but 13 of 25" in capsys.readouterr().err
    assert main(["plot", "bowl.npz", "--log", "--kind", "paraview"]) == 0  # which has no scale of its own
