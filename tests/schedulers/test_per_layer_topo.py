"""PerLayerTopoLR: every group follows planes of its own."""

import json
import math

import pytest
import torch
from examples import MODELS, loss_of
from hypothesis import given
from hypothesis import strategies as st
from loops import FAMILIES, batch_of, network
from parallel_loops import KINDS
from ranks import run_ranks
from torch import nn
from traces import state

from lrscape import viz
from lrscape.integrations import record
from lrscape.landscape import random_directions
from lrscape.schedulers import History, PerLayerTopoLR, PerLayerTopoMeasurement, TopoLR, layer_param_groups

SOON = {"interval": 2, "warmup": 0}


class Quadratic(nn.Module):
    """½Σθ_lᵀA_lθ_l of three matrices, with a bias that nothing depends on."""

    def __init__(self):
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(4, 3, bias=number == 2).double() for number in range(3))
        self.blocks = []
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.copy_(torch.randn(3, 4, generator=stream))
                root = torch.randn(12, 12, generator=stream, dtype=torch.float64)
                self.blocks.append(root @ root.T)

    def loss(self, *scales):
        thetas = [layer.weight.flatten() for layer in self.layers]
        terms = zip(scales or (1.0, 1.0, 1.0), thetas, self.blocks, strict=True)
        return sum(scale * theta @ block @ theta / 2 for scale, theta, block in terms)


def start(model=None, optimizer=None, **options):
    model = Quadratic() if model is None else model
    optimizer = torch.optim.SGD(layer_param_groups(model, lr=1.0)) if optimizer is None else optimizer
    return model, optimizer, PerLayerTopoLR(optimizer, model, **options)


def measured(*groups, loss=1.0):
    return PerLayerTopoMeasurement(loss, max(groups, default=0.0), 0.0, groups)


# The rule


def test_each_plane_has_the_curvature_of_its_block():
    """Of a quadratic, the Hessian in group l's plane is DᵀA_lD, with the directions of the whole model."""
    model, _, scheduler = start(seed=5)
    found = scheduler.measure(model.loss)
    drawn = random_directions(model, 2, seed=(5, 0)).tensors
    expected = []
    for number, block in enumerate(model.blocks):
        d = drawn[f"layers.{number}.weight"].reshape(2, -1)
        expected.append(float(torch.linalg.eigvalsh(d @ block @ d.T)[-1]))
    assert found.groups == pytest.approx(expected, rel=1e-8)
    assert (found.loss, found.curvature) == (model.loss().item(), max(found.groups))
    assert found.roughness < 1e-10
    assert scheduler.measure(model.loss).groups[0] != found.groups[0]  # new planes each time


def test_one_group_moves_at_a_time_and_as_far_as_all_do_in_topolr():
    model, _, scheduler = start(engine="inplace", seed=2)
    here = [layer.weight.detach().clone() for layer in model.layers]
    steps = []

    def loss():
        steps.append([layer.weight.detach() - weight for layer, weight in zip(model.layers, here, strict=True)])
        return model.loss()

    scheduler.measure(loss)
    drawn = random_directions(model, 2, seed=(2, 0)).tensors
    assert len(steps) == 27
    for number in range(3):
        first = steps[9 * number + 1]  # after the centre
        expected = math.sqrt(3) * 2 * 0.12 / 14 * drawn[f"layers.{number}.weight"][0]
        torch.testing.assert_close(first[number], expected, rtol=1e-10, atol=1e-12)
        assert not any(step.any() for other, step in enumerate(first) if other != number)


def test_a_factor_follows_the_root_of_its_own_block_and_of_no_other():
    scheduler = start(smoothing=0.0)[2]
    scheduler.observe(measured(2.0, 3.0, 0.5))
    assert scheduler.observe(measured(50.0, 3.0, 0.5)).factors == [pytest.approx(math.sqrt(2 / 50)), 1.0, 1.0]
    assert scheduler.observe(measured(50.0, 3.0, 8.0)).factors[1:] == [1.0, pytest.approx(0.25)]


@pytest.mark.parametrize("scales", [(9.0, 1.0, 1.0), (1.0, 4.0, 25.0), (100.0, 1.0, 16.0)])
def test_sharper_layers_are_slowed_by_the_root_of_their_growth(scales):
    model, _, scheduler = start(smoothing=0.0, brake=math.inf, min_ratio=1e-3)
    scheduler.observe(scheduler.measure(model.loss))
    scheduler._probes = 0  # the same planes again, so that only the loss differs
    decision = scheduler.observe(scheduler.measure(lambda: model.loss(*scales)))
    assert decision.reason == "curvature"
    assert decision.factors == pytest.approx([1 / math.sqrt(scale) for scale in scales], rel=1e-8)


curvature = st.floats(-2, 1e4)


@given(
    st.lists(st.tuples(curvature, curvature), min_size=1, max_size=15), st.floats(0.1, 2), st.floats(0, 0.9),
    st.floats(0.5, 3),
)  # fmt: skip
def test_the_rule_in_ten_lines(probes, gamma, smoothing, top):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    bounds = {"min_ratio": [0.05, 0.2], "max_ratio": [1.0, max(top, 1.0)]}
    ours = start(model, gamma=gamma, smoothing=smoothing, **bounds)[2]
    s, s0, factors = [None, None], [None, None], [1.0, 1.0]
    for probe in probes:
        for i, q in enumerate(probe):
            if q > 0:
                s[i] = math.log(q) if s[i] is None else smoothing * s[i] + (1 - smoothing) * math.log(q)
                s0[i] = s[i] if s0[i] is None else s0[i]
                wanted = math.exp(min(gamma * (s0[i] - s[i]), 99.0))
                factors[i] = min(max(wanted, bounds["min_ratio"][i]), bounds["max_ratio"][i])
        assert ours.observe(measured(*probe)).factors == pytest.approx(factors, rel=1e-12)


def test_reasons():
    scheduler = start(smoothing=0.0)[2]
    assert scheduler.observe(measured(-1.0, 0.0, -2.0)).reason == "saddle"
    assert scheduler.observe(measured(1.0, -1.0, 0.0)).reason == "reference"
    assert scheduler.observe(measured(4.0, 2.0, 0.0)).reason == "curvature"
    assert scheduler.factors == [0.5, 1.0, 1.0]
    assert scheduler.observe(measured(4.0, 2.0, 0.0, loss=5.0)).reason == "brake"
    assert scheduler.factors == [0.4, 0.8, 0.8]
    with pytest.warns(RuntimeWarning, match="not finite"):
        decision = scheduler.observe(measured(4.0, math.nan, 0.0))
    assert decision.reason == "non-finite"
    assert decision.factors == pytest.approx([0.32, 0.64, 0.64])
    assert scheduler.observe(measured(4.0, 8.0, 3.0)).factors == pytest.approx([0.5, 0.5, 0.64])  # not poisoned


def test_a_layer_that_overflows_slows_all():
    model, _, scheduler = start()
    here = model.layers[1].weight.detach().clone()

    def cliff():
        moved = (model.layers[1].weight != here).any()
        return torch.where(moved, math.inf, model.loss())

    with pytest.warns(RuntimeWarning, match="not finite"):
        decision = scheduler.observe(scheduler.measure(cliff))
    assert (decision.reason, decision.factors) == ("non-finite", [0.8] * 3)
    assert math.isfinite(decision.measurement["loss"])


# One group is TopoLR


class Run:
    """A regression with a new batch at each step."""

    def __init__(self, kind, dtype=torch.float32, adam=True, **options):
        self.model = network(dtype)
        self.optimizer = (torch.optim.AdamW if adam else torch.optim.SGD)(self.model.parameters(), lr=0.03)
        self.scheduler = kind(self.optimizer, self.model, **{**SOON, "smoothing": 0.3, **options})
        self.dtype = dtype

    def train(self, steps=24):
        self.rates = []
        for step in range(steps):
            x, y = batch_of(step, self.dtype)
            loss = ((self.model(x) - y) ** 2).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.probe(lambda x=x, y=y: ((self.model(x) - y) ** 2).mean())
            self.scheduler.step()
            self.rates.append(self.optimizer.param_groups[0]["lr"])
        return self


@pytest.mark.parametrize(
    "options",
    [
        {}, {"dtype": torch.float64, "adam": False}, {"bias": "match", "max_ratio": 3.0, "seed": 4},
        {"engine": "batched"}, {"parameters": ["0"], "gamma": 1.0}, {"brake": 1.1, "min_ratio": 0.3, "span": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_one_group_is_topolr_bit_for_bit(options):
    one, topo = Run(PerLayerTopoLR, **options).train(), Run(TopoLR, **options).train()
    assert one.rates == topo.rates
    assert len(set(topo.rates)) > 3
    for ours, theirs in zip(one.scheduler.history, topo.scheduler.history, strict=True):
        assert (ours.step, ours.reason, ours.factors) == (theirs.step, theirs.reason, theirs.factors)
        for name in ("loss", "curvature", "roughness"):
            assert ours.measurement[name] == theirs.measurement[name]
        assert ours.measurement["group 0"] == theirs.measurement["curvature"]
    assert all(map(torch.equal, one.model.parameters(), topo.model.parameters()))


def test_defaults_are_those_of_topolr():
    model = network()
    one, topo = (kind(torch.optim.SGD(model.parameters(), lr=1.0), model) for kind in (PerLayerTopoLR, TopoLR))
    for name in ("interval", "warmup", "span", "bias", "gamma", "smoothing", "brake", "min_ratio", "max_ratio"):
        assert getattr(one, name) == getattr(topo, name), name


# Groups that stay


def test_groups_with_nothing_to_move_keep_their_factor_and_cost_nothing():
    model = Quadratic()
    model.layers[1].requires_grad_(False)
    groups = [
        {"params": [model.layers[0].weight]},
        {"params": [model.layers[1].weight]},  # frozen
        {"params": [model.layers[2].bias]},  # 1-D
        {"params": [model.layers[2].weight]},  # 0, below
        {"params": [nn.Parameter(torch.ones(2, 2))]},  # of another model
    ]
    with torch.no_grad():
        model.layers[2].weight.zero_()
    calls = []

    def loss(first=1.0):
        calls.append(1)
        return model.loss(first, 1.0, 1.0)

    with pytest.warns(UserWarning, match="belong to the Quadratic"):
        scheduler = start(model, torch.optim.SGD(groups, lr=1.0), smoothing=0.0, brake=math.inf, engine="inplace")[2]
    assert scheduler.interval == 200  # of those that may move: the first and the fourth
    scheduler.observe(scheduler.measure(loss))
    assert len(calls) == 9
    scheduler._probes = 0
    decision = scheduler.observe(scheduler.measure(lambda: loss(16.0)))
    assert decision.factors == [pytest.approx(0.25, rel=1e-8), 1.0, 1.0, 1.0, 1.0]
    assert [decision.measurement[f"group {i}"] for i in range(1, 5)] == [0.0] * 4
    with torch.no_grad():
        model.layers[2].weight.add_(1.0)
    model.layers[1].requires_grad_(True)
    assert [value > 0 for value in scheduler.measure(model.loss).groups] == [True, True, False, True, False]


def test_parameters_restrict_every_group():
    model, _, scheduler = start(
        parameters=(name for name in ["layers.0", "layers.2"])
    )  # a generator: gone through once
    assert scheduler.interval == 200
    for _ in range(2):
        assert [value > 0 for value in scheduler.measure(model.loss).groups] == [True, False, True]


def test_a_layer_that_the_loss_does_not_depend_on_keeps_its_factor():
    model, _, scheduler = start(smoothing=0.0, brake=math.inf)
    for scale in (1.0, 4.0, 0.3):
        found = scheduler.measure(lambda scale=scale: model.loss(scale, 0.0, scale) + 0.1)
        assert found.groups[1] == 0.0  # not what rounding leaves of the fit
        assert scheduler.observe(found).factors[1] == 1.0


def test_where_nothing_moves_the_loss_is_measured_all_the_same():
    model = Quadratic()
    calls = []
    optimizer = torch.optim.SGD([model.layers[2].bias], lr=1.0)
    scheduler = start(model, optimizer, engine="inplace")[2]
    with pytest.warns(RuntimeWarning, match="at all points of all planes"):
        found = scheduler.measure(lambda: calls.append(1) or model.loss())
    assert (found.loss, found.groups, len(calls), scheduler.interval) == (model.loss().item(), (0.0,), 1, 100)
    assert scheduler.observe(found).reason == "saddle"
    scheduler.measure(model.loss)  # said once
    other = start()[2]
    with pytest.warns(RuntimeWarning, match="Compute the loss inside it"):
        other.measure(lambda: torch.ones(()))


def test_a_group_added_later_follows_planes_of_its_own():
    model = Quadratic()
    optimizer = torch.optim.SGD([model.layers[0].weight], lr=1.0)
    scheduler = start(model, optimizer, smoothing=0.0)[2]
    scheduler.observe(measured(1.0))
    scheduler.observe(measured(4.0))
    optimizer.add_param_group({"params": [model.layers[1].weight], "layer": "late"})
    found = scheduler.measure(model.loss)
    assert [value > 0 for value in found.groups] == [True, True]
    assert scheduler.observe(measured(4.0, 3.0)).factors == [0.5, 0.5]
    decision = scheduler.observe(measured(4.0, 27.0))
    assert decision.factors == [0.5, pytest.approx(1 / 3)]
    assert decision.measurement["layer late"] == 27.0


# What it leaves, saves and shows


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("fails", [False, True])
def test_a_probe_leaves_no_trace(name, fails):
    torch.manual_seed(0)
    model, batch = MODELS[name]()
    optimizer = torch.optim.AdamW(layer_param_groups(model), lr=1e-3)
    loss_of(model, batch).backward()
    scheduler = PerLayerTopoLR(optimizer, model, engine="inplace" if fails else "auto")
    calls = []

    def loss():
        calls.append(1)
        if fails and len(calls) == 14:  # on the second plane
            raise ZeroDivisionError
        return loss_of(model, batch)

    before, saved = state(model), str(scheduler.state_dict())
    if fails:
        with pytest.raises(ZeroDivisionError):
            scheduler.measure(loss)
        assert str(scheduler.state_dict()) == saved
    else:
        assert len(scheduler.measure(loss).groups) == len(optimizer.param_groups)
    assert state(model) == before


def test_probes_are_rarer_where_more_groups_move():
    assert start()[2].interval == 300
    assert start(interval=7)[2].interval == 7
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    assert start(model)[2].interval == 100
    assert start(model, bias="match")[2].interval == 200


def test_history_names_the_layers_before_anyone_reads_it(tmp_path):
    scheduler = start(smoothing=0.0)[2]
    seen, path = [], tmp_path / "run.jsonl"
    ends = record(scheduler, lambda values, step: seen.append(values)), record(scheduler, path)
    scheduler.observe(measured(1.0, 2.0, 0.0))
    scheduler.observe(measured(4.0, 2.0, 0.5))
    for end in ends:
        end()
    assert seen[1]["lrscape/measured/layer layers.0"] == 4.0
    assert [seen[1][f"lrscape/factor/{i}"] for i in range(3)] == [0.5, 1.0, 1.0]
    scheduler.history.to_jsonl(tmp_path / "history.jsonl")
    for written in (path, tmp_path / "history.jsonl"):
        latest = History.from_jsonl(written)[-1]
        assert latest.measurement == scheduler.history[-1].measurement
        assert set(latest.measurement) == {"loss", "curvature", "roughness", "layer layers.0", "layer layers.1",
                                           "layer layers.2"}  # fmt: skip
    assert json.loads(path.read_text().splitlines()[0])["reason"] == "reference"


def test_the_trace_shows_all_groups():
    scheduler = start(smoothing=0.0)[2]
    for value in (1.0, 4.0, 9.0):
        scheduler.observe(measured(value, 2.0, 0.0))
        scheduler.optimizer.step()
    ax = viz.lr_trace(scheduler)
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    assert lines["rate of group 1"] == pytest.approx([1.0, 0.5, 1 / 3])
    assert lines["rate of group 2"] == [1.0, 1.0, 1.0]
    viz.lr_trace(scheduler, measurement="layer layers.0")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"smoothing": 1.0}, ValueError, "smoothing must be at least 0 and below 1"),
        ({"gamma": math.nan}, ValueError, "gamma must be positive"),
        ({"span": -1.0}, ValueError, "span must be a positive number"),
        ({"brake": 1.0}, ValueError, "brake must be above 1"),
        ({"interval": 0}, ValueError, "interval must be a whole number of at least 1"),
        ({"parameters": "layers"}, TypeError, "parameters must be several names"),
        ({"parameters": ["nobody"]}, ValueError, "'nobody', which the model does not have"),
        ({"parameters": ["layers.2.bias"]}, ValueError, "bias='zero' leaves no direction"),
        ({"min_ratio": [0.1]}, ValueError, "min_ratio must be one number or one per parameter group"),
    ],
)
def test_bad_options_are_named(options, kind, message):
    with pytest.raises(kind, match=message):
        start(**options)


def test_what_is_no_model_or_optimizer_is_refused():
    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        PerLayerTopoLR(optimizer, optimizer)
    with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        PerLayerTopoLR(model, model)


# In several processes


def followed(rank, ranks, kind):
    FAMILIES["PerLayerTopoLR"] = PerLayerTopoLR, "after"
    run = KINDS[kind]("PerLayerTopoLR", rank=rank, **SOON).train(12)
    return run.rates, [decision.measurement for decision in run.scheduler.history], run.weights


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_ranks_agree_bit_for_bit(kind):
    first, second = run_ranks(followed, 2, kind)
    assert first[:2] == second[:2]
    assert len(set(map(tuple, first[0]))) > 2
    assert all(rates[0] / rates[1] != 1 for rates in first[0][4:])
    assert all(map(torch.equal, first[2], second[2]))


def test_ranks_follow_the_mean_of_their_losses():
    from parallel_loops import Whole

    found = run_ranks(followed, 2, "DDP without buffers")[0]
    FAMILIES["PerLayerTopoLR"] = PerLayerTopoLR, "after"
    try:
        alone = Whole(2, "PerLayerTopoLR", **SOON).train(12)
    finally:
        del FAMILIES["PerLayerTopoLR"]
    for rates, expected in zip(found[0], alone.rates, strict=True):
        assert rates == pytest.approx(expected, rel=1e-7)
