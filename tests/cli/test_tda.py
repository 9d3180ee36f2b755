"""``lrscape tda`` counts what a surface holds, and compares surfaces."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import landscape, tda
from lrscape.cli import main
from lrscape.cli.tda_table import COLUMNS, short_names
from lrscape.landscape import LossSurface


def saved(path, points, losses, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    LossSurface(points.coordinates, losses, points.shape, **more).save(path)
    return str(path)


def wells(points, depth=0.1):
    u, v = points.coordinates.T
    return 8 * (u**2 - 0.25) ** 2 + depth * u + v**2 + 0.2


@pytest.fixture
def surface(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    points = landscape.grid(21)
    return saved(Path("wells.npz"), points, wells(points))


@pytest.fixture
def noisy(surface):
    points = landscape.grid(21)
    return saved(Path("noisy.npz"), points, wells(points), standard_error=np.full(441, 0.2))


def row(line):
    return dict(zip(COLUMNS, [cell.strip() for cell in line.split("  ") if cell.strip()], strict=True))


def test_one_surface(surface, capsys):
    assert main(["tda", surface]) == 0
    out, err = capsys.readouterr()
    head, line = out.splitlines()
    assert head.split() == list(COLUMNS)
    found = row(line)
    profile = tda.profile(LossSurface.load(surface).values)
    assert (found["surface"], found["basins"], found["loops"], found["noise"]) == ("wells", "2", "0", "none")
    assert found["depths"] == f"{profile.depths[0]:.3g}, {profile.depths[1]:.3g}"
    assert found["barriers"] == f"{profile.barriers[1]:.3g}"
    assert found["loss"] == f"{profile.lowest:.3g} to {profile.highest:.3g}"
    assert err == "wells.npz has no standard errors, so every feature counts as real; --noise sets a level\n"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["wells.npz"]


def test_several_surfaces_share_one_table_and_their_own_noise_counts(surface, noisy, capsys):
    assert main(["tda", surface, noisy, surface]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert (row(first)["basins"], row(second)["basins"]) == ("2", "1")
    assert row(second)["barriers"] == "–"
    assert float(row(second)["noise"]) > 0.4


@pytest.mark.parametrize(
    ("arguments", "basins"),
    [((), 1), (("--noise", "0"), 2), (("--noise", "0.01"), 2), (("--noise", "9"), 1), (("--cells", "top"), 1)],
)
def test_noise_given_replaces_the_files(noisy, capsys, arguments, basins):
    assert main(["tda", noisy, "--json", *arguments]) == 0
    (found,) = json.loads(capsys.readouterr().out)["surfaces"]
    assert found["n_basins"] == basins


def test_confidence_widens_the_noise(noisy, capsys):
    floors = []
    for confidence in ("0.5", "0.999"):
        assert main(["tda", noisy, "--confidence", confidence, "--json"]) == 0
        floors.append(json.loads(capsys.readouterr().out)["surfaces"][0]["noise_floor"])
    assert floors[0] < floors[1]


def test_json_holds_all_of_the_profile(noisy, surface, capsys):
    assert main(["tda", noisy, surface, "--noise", "0.01", "--json", "-o", "f", "--dpi", "40", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert (result["command"], result["confidence"], result["cells"]) == ("tda", 0.95, "vertices")
    assert len(result["files"]) == 8
    first = result["surfaces"][0]
    expected = tda.profile(LossSurface.load(noisy).values, 0.01).as_dict()
    assert {name: first[name] for name in expected} == expected
    assert (first["surface"], first["noise"]) == ("noisy.npz", 0.01)
    assert first["center"] == pytest.approx(0.7)
    assert first["coordinates"] == [[-0.5, 0.0], [0.5, 0.0]]
    assert main(["tda", noisy, surface, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [found["noise"] for found in result["surfaces"]] == ["standard_error", None]


def test_figures(noisy, capsys):
    assert main(["tda", noisy, "-o", "a/b", "--dpi", "40", "--log", "--most", "3"]) == 0
    names = {f"noisy-{kind}.png" for kind in ("persistence", "barcode", "mergetree", "basins")}
    assert {path.name for path in Path("a/b").iterdir()} == names
    out = capsys.readouterr().out
    assert all(f"figure   a/b/{name}\n" in out for name in names)
    assert plt.get_fignums() == []


def test_other_dimensions_and_holes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line, cube = landscape.line(9), landscape.grid(5, dims=3)
    losses = 1 + line.coordinates[:, 0] ** 2
    losses[[0, 4]] = np.nan, np.inf
    paths = [saved(Path("line.npz"), line, losses), saved(Path("cube.npz"), cube, 1 + (cube.coordinates**2).sum(1))]
    assert main(["tda", *paths, "-o", "figures", "--format", "svg", "--dpi", "40"]) == 0
    out, _ = capsys.readouterr()
    assert "2 not finite" in out
    assert "inf" in out  # the barrier between the two sides of the hole
    assert len(list(Path("figures").glob("line-*.svg"))) == 3
    assert len(list(Path("figures").glob("cube-*.svg"))) == 3
    assert main(["tda", paths[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["surfaces"][0]["barriers"] == [0.0, None]


def test_many_basins_are_cut_in_the_table_and_not_in_json(tmp_path, capsys):
    points = landscape.grid(11)
    path = saved(tmp_path / "rough.npz", points, np.random.default_rng(0).random(121))
    assert main(["tda", path, "-q", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["surfaces"][0]
    assert len(found["depths"]) == found["n_basins"] > 5
    assert main(["tda", path]) == 0
    line = row(capsys.readouterr().out.splitlines()[1])
    assert line["depths"].endswith(", …")
    assert line["depths"].count(",") == line["barriers"].count(",") == 3


def test_names_tell_surfaces_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    points = landscape.grid(5)
    paths = [saved(Path(folder) / "s.npz", points, 1 + (points.coordinates**2).sum(1)) for folder in "ab"]
    assert main(["tda", *paths, "-o", "figures", "--dpi", "40"]) == 0
    assert len(list(Path("figures").iterdir())) == 8
    assert list(short_names([Path("/x/s.npz"), Path("../y/s.npz")]).values()) == ["x-s", "y-s"]
    assert list(short_names([Path("a/s.npz"), Path("b/t.npz")]).values()) == ["s", "t"]
    alike = [Path("a/b/s.npz"), Path("a-b/s.npz"), Path("/a/b/s.npz")]
    assert list(short_names(alike).values()) == ["a-b-s", "a-b-s~2", "a-b-s~3"]


def test_it_refuses_to_overwrite(surface, noisy, capsys):
    Path("figures").mkdir()
    Path("figures/noisy-barcode.png").write_text("older")
    told = (surface, noisy, "-o", "figures", "--dpi", "40", "-q")
    assert main(["tda", *told]) == 1
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    assert "figures/noisy-barcode.png exists already; choose another --out, or pass --overwrite" in err
    assert [path.name for path in Path("figures").iterdir()] == ["noisy-barcode.png"]  # nothing was drawn before
    assert Path("figures/noisy-barcode.png").read_text() == "older"
    assert main(["tda", *told, "--overwrite"]) == 0
    assert len(list(Path("figures").iterdir())) == 8
    assert Path("figures/noisy-barcode.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--noise", "-1"], 2, ["--noise", "at least 0", "'-1'"]),
        (["--noise", "nan"], 2, ["at least 0"]),
        (["--noise", "some"], 2, ["at least 0", "'some'"]),
        (["--confidence", "1"], 2, ["between 0 and 1"]),
        (["--confidence", "much"], 2, ["between 0 and 1"]),
        (["--cells", "edges"], 2, ["vertices"]),
        (["--most", "0"], 2, ["at least 1"]),
        (["-o", "wells.npz"], 1, ["cannot make the folder wells.npz"]),
    ],
)
def test_bad_arguments(surface, capsys, arguments, code, parts):
    assert main(["tda", surface, "-q", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err


def test_surfaces_that_have_no_topology(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stencil = landscape.sparse_stencil()
    scattered = saved(Path("scattered.npz"), stencil, (stencil.coordinates**2).sum(1))
    Path("text.npz").write_text("no surface")
    for path, part in [
        (scattered, "scattered.npz: its 25 points do not form a grid"),
        ("text.npz", "text.npz is not a loss surface"),
        ("none.npz", "there is no surface none.npz; make one with lrscape probe"),
    ]:
        assert main(["tda", path]) == 1
        assert part in capsys.readouterr().err


def test_plot_draws_topology_where_it_is_asked_for(noisy, capsys):
    assert main(["plot", noisy, "--kind", "persistence,barcode,mergetree,basins", "--dpi", "40", "-q", "--log"]) == 0
    kinds = sorted(path.stem.removeprefix("noisy-") for path in Path("figures").iterdir())
    assert kinds == ["barcode", "basins", "mergetree", "persistence"]
    assert plt.get_fignums() == []


def test_plot_draws_topology_of_other_dimensions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cube = landscape.grid(3, dims=3)
    path = saved(Path("cube.npz"), cube, 1 + (cube.coordinates**2).sum(1), metrics={"top1": np.ones(27)})
    assert main(["plot", path, "--kind", "persistence", "--metric", "top1", "--dpi", "40"]) == 0
    assert Path("figures/cube-persistence-top1.png").exists()
    capsys.readouterr()
    assert main(["plot", path]) == 1
    assert "error: cube.npz is 3-D; use --kind persistence,barcode,mergetree" in capsys.readouterr().err
    assert main(["plot", path, "--kind", "basins"]) == 1
    assert "--kind basins draws 2-D surfaces" in capsys.readouterr().err


def test_the_table_is_printed_even_if_a_figure_cannot_be_drawn(surface, capsys):
    points = landscape.grid(21)
    losses = wells(points) - 1
    negative = saved(Path("negative.npz"), points, losses)
    bad = int((losses <= 0).sum())
    arguments = ["tda", surface, negative, "-o", "figures", "--dpi", "40", "--noise", "0"]
    assert main(["tda", surface, negative, "--noise", "0"]) == 0
    table = capsys.readouterr().out
    assert main([*arguments, "--log"]) == 1
    out, err = capsys.readouterr()
    *lines, first, second, third, last = out.splitlines(keepends=True)
    assert "".join(lines) == table
    assert all("figures/wells-" in line for line in (first, second, third, last))
    assert f"negative.npz: --log needs losses above 0, but {bad} of 441 are not (the lowest is" in err
    assert err.endswith("; leave out --log\n")
    assert main([*arguments, "--log", "--overwrite", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert len(record["surfaces"]) == 2
    assert record["files"] == [
        f"figures/wells-{kind}.png" for kind in ("persistence", "barcode", "mergetree", "basins")
    ]
    assert plt.get_fignums() == []
