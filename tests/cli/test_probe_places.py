"""``lrscape probe`` along every kind of direction, on every kind of grid; senseless combinations are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lrscape import landscape
from lrscape.cli import build_parser, main
from lrscape.cli.directions import line_with_ends
from lrscape.cli.plan import make_plan
from lrscape.landscape import Directions, LossSurface


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture
def others(user):
    """Two more checkpoints, one of them under a prefix."""
    torch.save(network(1).state_dict(), "b.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in network(2).state_dict().items()}}, "c.pt")


def load():
    return LossSurface.load("surface.npz")


def reference(path):
    """The model at a checkpoint, its loss over all data, and the objective."""
    import usercode

    model = usercode.model()
    landscape.load_checkpoint(model, path)
    (x, y) = usercode.x, torch.arange(12) % 2
    loss = float(torch.nn.functional.cross_entropy(model(x), y).detach())
    return model, loss, landscape.Objective(usercode.loss, usercode.data())


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["--line", "5"], (5,)),
        (["--dims", "1", "--grid", "5"], (5,)),
        (["--cube", "3"], (3, 3, 3)),
        (["--dims", "3", "--grid", "3"], (3, 3, 3)),
        (["--dims", "2", "--grid", "3"], (3, 3)),
        (["--grid", "4", "--span", "0", "1"], (4, 4)),
    ],
)
def test_shapes(probe, arguments, shape):
    assert probe(*arguments) == 0
    surface = load()
    assert surface.shape == shape
    assert surface.center_index is not None
    assert surface.provenance["directions"] == "random"


def test_off_centre_spans(probe, capsys):
    assert probe("--line", "7", "--span", "-0.5", "1") == 0
    assert load().coordinates[:, 0].tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0]
    capsys.readouterr()
    assert probe("--line", "4", "--span", "0.5", "1", "--overwrite", "--metric", "top1=usercode:top1") == 0
    assert "not on the grid" in capsys.readouterr().out
    assert probe("--line", "4", "--span", "0.5", "1", "--overwrite", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["center"], record["metrics"]) == (None, {})


def test_parameters_dropout_and_chunk(probe, capsys):
    assert probe("--parameters", "0", "*.bias", "--bias", "match", "--dropout", "--chunk", "2") == 0
    told = load().provenance
    assert told["left_out"] == ["2.weight"]
    assert (told["dropout"], told["chunk"]) == (True, 2)
    out = capsys.readouterr().out
    assert "18 of 26 parameters" in out
    assert "not moved   2.weight\n" in out
    assert probe("--parameters", "nose", "--overwrite") == 1
    assert "'nose'" in capsys.readouterr().err


def test_gradient_is_the_librarys(probe, capsys):
    assert probe("--loss", "usercode:loss", "--line", "3", "--directions", "gradient", "--norm", "none") == 0
    model, _, objective = reference("model.pt")
    gradient = landscape.gradient_direction(model, objective)
    expected = landscape.evaluate(model, objective, gradient, landscape.line(3))
    assert np.allclose(load().losses, expected.losses, rtol=1e-6)
    assert "gradient, length" in capsys.readouterr().out


@pytest.mark.parametrize("kinds", ["gradient", "gradient,random", "random,gradient", "random,random,gradient"])
def test_kinds_in_the_order_of_the_axes(probe, kinds):
    dims = str(max(2, kinds.count(",") + 1))
    options = ("--directions", kinds, "--dims", dims, "--grid", "3", "--norm", "unit", "--orthogonal", "--seed", "5")
    assert probe(*options, "--save-directions", "d.npz") == 0
    told = load().provenance
    given = kinds.split(",")
    assert told["order"] == (given if len(given) > 1 else ["gradient", "random"])
    assert np.allclose(told["direction_norms"], 1)
    assert np.allclose(told["direction_cosines"], np.eye(int(dims)), atol=1e-6)
    model, _, objective = reference("model.pt")
    unit = landscape.gradient_direction(model, objective, norm="unit").tensors["0.weight"][0]
    if given[0] == "gradient":  # orthogonalising leaves the first as it is
        assert torch.allclose(Directions.load("d.npz").tensors["0.weight"][0], unit, atol=1e-6)


def test_saved_directions_give_the_same_surface(probe, capsys):
    assert probe("--seed", "7", "--orthogonal", "--save-directions", "sub/d.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["directions_saved"] == "sub/d.npz"
    first = load()
    assert probe("--load-directions", "sub/d.npz", "--overwrite") == 0
    again = load()
    assert np.array_equal(first.losses, again.losses)
    assert again.provenance["directions_file"] == "sub/d.npz"
    assert again.provenance["seed"] == 7
    capsys.readouterr()
    for shape in (["--line", "3"], ["--cube", "3"]):
        assert probe("--load-directions", "sub/d.npz", "--overwrite", *shape) == 1
        assert "holds 2 directions, but" in capsys.readouterr().err
    assert probe("--load-directions", "model.pt", "--overwrite") == 1
    assert "model.pt does not hold directions" in capsys.readouterr().err
    assert probe("--save-directions", "sub/d.npz", "--out", "new.npz") == 1
    assert "another --save-directions" in capsys.readouterr().err


def test_a_line_holds_both_checkpoints(probe, others, capsys):
    assert probe("--toward", "b.pt", "--line", "11", "--json", "--loss", "usercode:loss") == 0
    surface = load()
    alpha = surface.coordinates[:, 0]
    losses = [reference(name)[1] for name in ("model.pt", "b.pt")]
    assert np.allclose([surface.losses[alpha == 0][0], surface.losses[alpha == 1][0]], losses, rtol=1e-5)
    assert alpha[0] < 0
    assert alpha[-1] > 1
    told = surface.provenance
    assert (told["anchors"], told["anchor_checkpoints"]) == ([[0.0], [1.0]], ["model.pt", "b.pt"])
    assert np.allclose(told["anchor_losses"], losses, rtol=1e-5)
    record = json.loads(capsys.readouterr().out)
    assert [one["checkpoint"] for one in record["anchors"]] == ["model.pt", "b.pt"]


def test_a_plane_holds_three_checkpoints(probe, others, capsys):
    assert probe("--through", "b.pt", "c.pt", "--grid", "6", "--save-directions", "plane.npz") == 0
    surface = load()
    told = surface.provenance
    anchors = np.array(told["anchors"])
    low, high = surface.coordinates.min(axis=0), surface.coordinates.max(axis=0)
    assert ((anchors >= low) & (anchors <= high)).all()
    assert told["anchor_checkpoints"] == ["model.pt", "b.pt", "c.pt"]
    out = capsys.readouterr().out
    assert "c.pt at (" in out
    model, _, objective = reference("model.pt")
    plane = Directions.load("plane.npz", model)
    there = landscape.evaluate(model, objective, plane, landscape.points(anchors))
    expected = [reference(name)[1] for name in ("model.pt", "b.pt", "c.pt")]
    assert np.allclose(there.losses, expected, rtol=1e-5)
    assert np.allclose(told["anchor_losses"], expected, rtol=1e-5)


def test_the_lines_own_options(probe, others, capsys):
    assert probe("--toward", "b.pt", "--span", "0", "1", "--line", "4", "--parameters", "2") == 0
    assert load().coordinates[:, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert probe("--toward", "model.pt", "--line", "5", "--overwrite") == 1
    assert "a is model.pt, b is model.pt" in capsys.readouterr().err
    assert probe("--toward", "none.pt", "--line", "5", "--overwrite") == 1
    assert "none.pt" in capsys.readouterr().err


@pytest.mark.parametrize("n", range(3, 60))
def test_ends_of_a_line_are_exact(n):
    points = line_with_ends(n).coordinates[:, 0]
    assert len(points) == n
    assert (points == 0).sum() == 1
    assert (points == 1).sum() == 1
    assert np.allclose(np.diff(points), points[1] - points[0])


def test_adaptive_reports_the_points_saved(probe, capsys):
    assert probe("--adaptive", "--grid", "41", "--tolerance", "0.05", "--log", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    surface = load()
    assert surface.shape == (41, 41)
    assert record["measured"] == surface.metrics["measured"].sum() < record["points"] == 1681
    assert record["saved_share"] == pytest.approx(1 - record["measured"] / 1681)
    assert record["metrics"] == {}
    told = surface.provenance["adaptive"]
    assert (told["tolerance"], told["log"], told["coarse"]) == (0.05, True, 21)
    assert probe("--adaptive", "--grid", "41", "--overwrite") == 0
    assert "of 1681 points saved" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--dims", "2", "--line", "5"], "--line is 1-D, but --dims 2 is 2-D"),
        (["--cube", "3", "--toward", "b.pt"], "--cube is 3-D, but --toward is 1-D"),
        (["--grid", "5", "--toward", "b.pt"], "use --line N for --grid N"),
        (["--line", "5", "--through", "b.pt", "c.pt"], "--line is 1-D, but --through is 2-D"),
        (["--toward", "b.pt", "--norm", "none"], "--norm says nothing with --toward"),
        (["--toward", "b.pt", "--seed", "0"], "--seed says nothing with --toward"),
        (["--through", "b.pt", "c.pt", "--orthogonal"], "--orthogonal says nothing with --through"),
        (["--load-directions", "d.npz", "--parameters", "0"], "--parameters says nothing with --load-directions"),
        (["--load-directions", "d.npz", "--save-directions", "e.npz"], "--save-directions would write"),
        (["--save-directions", "surface.npz"], "name the same file"),
        (["--toward", "b.pt", "--through", "b.pt", "c.pt"], "not allowed with"),
        (["--toward", "b.pt", "--directions", "random"], "not allowed with"),
        (["--through", "b.pt"], "expected 2 arguments"),
        (["--directions", "gradient,gradient"], "the gradient twice"),
        (["--directions", "gradient,random", "--line", "5"], "--directions names 2, but there are 1"),
        (["--directions", "hessian"], "random, gradient"),
        (["--adaptive", "--line", "5"], "--adaptive refines a 2-D grid"),
        (["--adaptive", "--toward", "b.pt"], "--adaptive refines a 2-D grid"),
        (["--adaptive", "--grid", "7"], "at least 9 points"),
        (["--adaptive", "--grid", "26", "--span", "0", "1"], "odd --grid"),
        (["--tolerance", "0.1"], "--tolerance says how --adaptive"),
        (["--log"], "--log says how --adaptive"),
        (["--dims", "4"], "--dims"),
        (["--chunk", "0"], "--chunk"),
        (["--span", "1", "0"], "the lower first"),
        (["--span", "1", "2", "3"], "the lower first"),
        (["--span", "1", "model.pt"], "CKPT goes before it"),
        (["--cube", "4"], "--cube must be odd"),
        (["--toward", "b.pt", "--line", "4", "--span", "1"], "--line must be odd"),
    ],
)
def test_senseless_combinations(user, capsys, arguments, part):
    assert main(["probe", "none.pt", "--model", "usercode:model", "--data", "usercode:data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err, err
    assert not Path("surface.npz").exists()


def test_plans_that_make_sense():
    def plan(*arguments):
        parsed = build_parser().parse_args(["probe", "c", "--model", "m", "--data", "d", *arguments])
        made = make_plan(parsed)
        return made.dims, made.points_a_side(made.dims or 2)

    assert plan() == (2, 51)
    assert plan("--dims", "1") == (1, 101)
    assert plan("--dims", "3") == (3, 21)
    assert plan("--adaptive") == (2, 101)
    assert plan("--toward", "b") == (1, 101)
    assert plan("--through", "b", "c", "--grid", "10") == (2, 10)
    assert plan("--load-directions", "f") == (None, 51)


def test_statistics_of_another_checkpoint_are_told(probe, capsys, user):
    (user / "normed.py").write_text(
        "from torch import nn\ndef model():\n    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))\n"
    )
    for name, seed in (("model.pt", 0), ("b.pt", 1)):
        torch.manual_seed(seed)
        torch.save(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(), name)
    options = ("--toward", "b.pt", "--line", "3", "--overwrite")
    assert probe(*options, model="normed:model") == 0
    assert "BatchNorm: every point" in capsys.readouterr().err
    assert probe(*options, "--batch-norm", "recalibrate", model="normed:model") == 0
    assert "BatchNorm: every point" not in capsys.readouterr().err
