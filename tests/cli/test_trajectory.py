"""``lrscape trajectory``: the plane of a run, its path, and the losses of the checkpoints themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

from lrscape import viz
from lrscape.cli import main
from lrscape.landscape import LossSurface


@pytest.fixture
def paths(user):
    """Five checkpoints of a short run."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = torch.linspace(-1, 1, 36).reshape(12, 3), torch.arange(12) % 2
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    for epoch in (1, 2, 3, 10, 11):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        torch.save({"ema": model.state_dict(), "raw": model.state_dict()}, f"epoch{epoch}.pt")
    return [f"epoch{epoch}.pt" for epoch in (1, 2, 3, 10, 11)]


@pytest.fixture
def trajectory(paths):
    def run(*arguments, checkpoints=paths, grid="5"):
        code = ["--model", "usercode:model", "--data", "usercode:data", "--key", "ema", "--grid", grid]
        return main(["trajectory", *checkpoints, *code, *arguments])

    return run


def true_loss(path):
    import usercode

    model = usercode.model()
    model.load_state_dict(torch.load(path)["ema"])
    return float(F.cross_entropy(model(usercode.x), torch.arange(12) % 2).detach())


@pytest.mark.parametrize("center", ["final", "mean"])
def test_path_and_true_losses_are_kept(trajectory, paths, capsys, center):
    assert trajectory("--json", "--center", center, "--metric", "top1=usercode:top1") == 0
    record = json.loads(capsys.readouterr().out)
    surface = LossSurface.load("surface.npz")
    told = surface.provenance
    assert surface.shape == (5, 5)
    assert told["path_checkpoints"] == paths
    expected = [true_loss(path) for path in paths]
    assert np.allclose(told["path_losses"], expected, rtol=1e-5)
    assert [row["true_loss"] for row in record["checkpoints"]] == told["path_losses"]
    assert [row["at"] for row in record["checkpoints"]] == told["path"]
    assert set(record["checkpoints"][0]["metrics"]) == {"top1"}
    assert sum(record["spectrum"]) == pytest.approx(1)
    assert len(record["explained_variance"]) == 2
    path = np.array(told["path"])
    assert ((path >= surface.coordinates.min(axis=0)) & (path <= surface.coordinates.max(axis=0))).all()
    if center == "final":  # the last checkpoint lies in the plane, at the origin
        assert told["path_plane_losses"][-1] == pytest.approx(expected[-1], rel=1e-5)
        assert surface.center == pytest.approx(expected[-1], rel=1e-5)
        assert told["path_distances"][-1] == pytest.approx(0, abs=1e-6)


def test_table(trajectory, capsys):
    assert trajectory("--figure", "sub/path.png", "--log", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert Path("sub/path.png").read_bytes().startswith(b"\x89PNG")
    assert trajectory("--overwrite") == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "checkpoint"
    for part in ("true loss", "in the plane", "off plane"):
        assert part in lines[0]
    assert lines[5].startswith("epoch11.pt  (0, 0)")
    assert "of the squared distances from the last checkpoint" in out
    assert plt.get_fignums() == []


def test_order(trajectory, paths, capsys):
    alphabetical = sorted(paths)
    assert alphabetical != paths
    assert trajectory("--sort", checkpoints=alphabetical) == 0
    assert "alphabetical" not in capsys.readouterr().err
    assert LossSurface.load("surface.npz").provenance["path_checkpoints"] == paths
    assert trajectory("--overwrite", checkpoints=alphabetical) == 0
    assert "pass --sort" in capsys.readouterr().err
    assert LossSurface.load("surface.npz").provenance["path_checkpoints"] == alphabetical


def test_plot_draws_the_path(trajectory, monkeypatch):
    assert trajectory("--parameters", "0") == 0
    told = LossSurface.load("surface.npz").provenance
    assert told["left_out"] == ["2.weight", "2.bias"]
    drawn = []
    save = viz.save

    def spy(axes, path, **options):
        drawn.append([line.get_xydata().tolist() for line in axes.lines])
        return save(axes, path, **options)

    monkeypatch.setattr(viz, "save", spy)
    assert main(["plot", "surface.npz", "--dpi", "40", "--kind", "contour,basins,surface"]) == 0
    for lines in drawn[:2]:
        assert told["path"] in lines
        assert told["path"][1:-1] in lines  # a dot at every checkpoint between
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--figure", "a.bmp"], 2, ["--figure must end in .png, .pdf or .svg"]),
        (["--figure", "usercode.py/a.png"], 1, ["cannot write", "--figure"]),
        (["--out", "usercode.py"], 1, ["exists already"]),
        (["--grid", "2"], 2, ["at least 3"]),
        (["--margin", "-1"], 2, ["at least 0"]),
        (["--margin", "wide"], 2, ["at least 0"]),
        (["--norm", "filter"], 2, ["unrecognized arguments"]),
        (["--parameters", "nose"], 1, ["'nose'"]),
        (["--key", "none"], 1, ["no key 'none'"]),
    ],
)
def test_bad_arguments(trajectory, capsys, arguments, code, parts):
    assert trajectory(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    for part in parts:
        assert part in err, err
    assert not Path("surface.npz").exists()


def test_bad_checkpoints(trajectory, paths, capsys):
    assert trajectory(checkpoints=[*paths[:2], paths[0]]) == 2
    assert "probe A --toward B" in capsys.readouterr().err
    assert trajectory(checkpoints=[*paths, "model.pt"]) == 1
    assert "model.pt" in capsys.readouterr().err
    torch.save({"ema": nn.Linear(2, 2).state_dict()}, "other.pt")
    assert trajectory(checkpoints=["other.pt", *paths]) == 1
    assert "other.pt does not fit" in capsys.readouterr().err


def test_anchors_are_marked(user, monkeypatch):
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        torch.save(model.state_dict(), f"m{seed}.pt")
    code = ["--model", "usercode:model", "--data", "usercode:data"]
    assert main(["probe", "model.pt", *code, "--toward", "m1.pt", "--line", "5", "-o", "line.npz"]) == 0
    assert main(["probe", "model.pt", *code, "--through", "m1.pt", "m2.pt", "--grid", "5", "-o", "plane.npz"]) == 0
    drawn = []
    save = viz.save

    def spy(axes, path, **options):
        drawn.append([text.get_text() for text in axes.texts])
        return save(axes, path, **options)

    monkeypatch.setattr(viz, "save", spy)
    assert main(["plot", "plane.npz", "--kind", "contour,basins", "--dpi", "40"]) == 0
    assert main(["plot", "line.npz", "--dpi", "40"]) == 0
    assert drawn[0] == ["model.pt", "m1.pt", "m2.pt"]
    assert {"model.pt", "m1.pt", "m2.pt"} <= set(drawn[1])
    assert drawn[2] == ["model.pt", "m1.pt"]
    assert plt.get_fignums() == []


def test_the_table_is_printed_even_if_the_figure_cannot_be_drawn(trajectory, user, capsys):
    with (user / "usercode.py").open("a") as file:
        file.write("\ndef below(model, batch):\n    return loss(model, batch) - 100\n")
    assert trajectory("--loss", "usercode:below", "--figure", "path.png", "--log") == 1
    out, err = capsys.readouterr()
    assert "explained" in out
    assert "path.png" not in out
    assert "surface.npz: --log needs losses above 0" in err
    assert err.endswith("; leave out --log\n")
    assert Path("surface.npz").exists()
