"""PerLayerHomotopyLR and the groups it steers."""

import math
from statistics import median

import pytest
import torch
from examples import MODELS, loss_of
from torch import nn
from traces import state

from lrscape.integrations import record
from lrscape.landscape import by_layer, kappa, preconditioned
from lrscape.schedulers import History, PerLayerHomotopyLR, layer_param_groups


class Layers(nn.Module):
    """One number per layer, curved as given; coupled by the product of the first two."""

    def __init__(self, curvatures, coupling=0.0):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, 1, bias=False).double() for _ in curvatures)
        self.curvatures, self.coupling = curvatures, coupling
        for layer in self.layers:
            nn.init.ones_(layer.weight)

    def loss(self):
        weights = [layer.weight.sum() for layer in self.layers]
        own = sum(c * w**2 / 2 for c, w in zip(self.curvatures, weights, strict=True))
        return own + self.coupling * weights[0] * weights[1]


def start(curvatures, lr=1e-3, coupling=0.0, kind=torch.optim.SGD, rates=None, **options):
    model = Layers(curvatures, coupling)
    groups = layer_param_groups(model, lr=lr)
    for group, rate in zip(groups, rates or [], strict=bool(rates)):
        group["lr"] = rate
    optimizer = kind(groups)
    return model, optimizer, PerLayerHomotopyLR(optimizer, model, margin=0.9, tolerance=1e-10, **options)


def test_the_median_keeps_its_rate_and_flat_layers_are_bounded():
    model, _, scheduler = start([1.0, 2.0, 4.0, 16.0, 0.01])
    decision = scheduler.probe(model.loss)
    assert decision.reason == "layers"
    assert decision.factors == pytest.approx([2.0, 1.0, 0.5, 0.125, 4.0], rel=1e-8)


def test_curvature_upside_down_takes_the_largest_factor():
    model, _, scheduler = start([1.0, 2.0, 4.0, -3.0])
    assert scheduler.probe(model.loss).factors == pytest.approx([2.0, 1.0, 0.5, 4.0], rel=1e-8)


def test_plain_rates_do_not_change_the_factors():
    """The blocks are measured without rates; otherwise a factor would feed back on itself."""
    model, optimizer, scheduler = start([1.0, 2.0, 4.0], rates=[1e-3, 5e-3, 2e-4], interval=1)
    for _ in range(3):
        assert scheduler.probe(model.loss).factors == pytest.approx([2.0, 1.0, 0.5], rel=1e-8)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("coupling", [0.0, 1.0, 3.0])
def test_the_whole_settles_at_the_margin(coupling):
    model, optimizer, scheduler = start([4.0, 5.0, 40.0], lr=10.0, coupling=coupling, interval=1, smoothing=0.0)
    for _ in range(6):
        decision = scheduler.probe(model.loss)
        optimizer.step()
        scheduler.step()
        with preconditioned(model, model.loss, optimizer) as operator:
            matrix = operator.matmat(torch.eye(3, dtype=torch.float64))
        stable = 2 / torch.linalg.eigvalsh(matrix)[-1].item()
        largest = max(group["lr"] for group in optimizer.param_groups)
        assert largest <= 0.9 * stable * (1 + 1e-6)  # from the first probe on
    assert decision.reason == "edge"
    assert largest == pytest.approx(0.9 * stable, rel=1e-6)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates[0] / rates[1] == pytest.approx(5 / 4, rel=1e-6)
    assert rates[1] / rates[2] == pytest.approx(8.0, rel=1e-6)


def test_adams_blocks_are_preconditioned():
    model, _, scheduler = start([1.0, 2.0, 4.0], kind=lambda groups: torch.optim.Adam(groups, eps=0.0))
    measured = scheduler.measure(model.loss)
    assert measured.groups == pytest.approx([1.0, 1.0, 1.0])  # |g| is the curvature, at 1
    assert measured.edge == pytest.approx(38.0)


def test_published_rule_halves_the_median():
    model, (x, y) = MODELS["tabular"]()
    optimizer = torch.optim.SGD(layer_param_groups(model, lr=0.1))
    scheduler = PerLayerHomotopyLR(optimizer, model, criterion="kappa", seed=2)

    def loss():
        return loss_of(model, (x, y))

    found = by_layer(kappa, model, loss, seed=(2, 0))
    values = [entry.kappa for entry in found.values()]
    decision = scheduler.observe(scheduler.measure(loss))
    assert decision.factors == pytest.approx([1 / (1 + value / median(values)) for value in values], rel=1e-6)
    assert scheduler.interval == 1
    model, _, odd = start([1.0, 2.0, 4.0], criterion="kappa")
    assert odd.observe(odd.measure(model.loss)).factors[1] == pytest.approx(0.5, rel=1e-6)


def test_history_names_the_layers():
    model, _, scheduler = start([1.0, 2.0])
    decision = scheduler.probe(model.loss)
    assert decision.measurement["layer layers.0"] == pytest.approx(1.0)
    assert decision.measurement["layer layers.1"] == pytest.approx(2.0)
    assert "groups" not in decision.measurement
    plain = PerLayerHomotopyLR(torch.optim.SGD(model.parameters(), lr=1e-3), model, tolerance=1e-10)
    assert plain.probe(model.loss).measurement["group 0"] == pytest.approx(2.0)


def test_a_layer_that_diverges_is_not_finite():
    model, _, scheduler = start([1.0, math.inf])
    with pytest.warns(RuntimeWarning, match="not finite"):
        decision = scheduler.probe(model.loss)
    assert (decision.reason, scheduler._vectors) == ("non-finite", [])


def test_probes_are_rarer_where_there_are_more_groups():
    assert start([1.0] * 3)[2].interval == 240
    assert start([1.0] * 3, interval=7)[2].interval == 7


def test_a_probe_leaves_no_trace_and_starts_from_the_vectors_found_last():
    torch.manual_seed(0)
    model, batch = MODELS["convolutional"]()
    optimizer = torch.optim.AdamW(layer_param_groups(model), lr=1e-3)
    loss_of(model, batch).backward()
    optimizer.step()
    scheduler = PerLayerHomotopyLR(optimizer, model, interval=1)
    before = state(model)
    first = scheduler.measure(lambda: loss_of(model, batch))
    again = scheduler.measure(lambda: loss_of(model, batch))
    assert state(model) == before
    assert again.hvps < first.hvps
    assert len(first.groups) == len(optimizer.param_groups)


# Groups


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_parameter_is_in_one_group(name):
    model, _ = MODELS[name]()
    groups = layer_param_groups(model, lr=0.25)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert len({group["layer"] for group in groups}) == len(groups)
    assert all(group["lr"] == 0.25 for group in groups)


def test_names_of_groups():
    model, _ = MODELS["attention"]()  # a parameter of its own, and a table shared with the head
    assert [group["layer"] for group in layer_param_groups(model)] == ["", "embed", "qkv", "norm"]
    assert [group["layer"] for group in layer_param_groups(model, parameters=["qkv"])] == ["qkv"]
    model, _ = MODELS["spectral"]()
    assert [group["layer"] for group in layer_param_groups(model)] == ["0", "2"]


def test_whoever_listens_gets_the_layers_by_name(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    scheduler = PerLayerHomotopyLR(torch.optim.SGD(layer_param_groups(model), lr=0.1), model)
    end = record(scheduler, tmp_path / "run.jsonl")
    decision = scheduler.probe(lambda: model(torch.ones(4, 2)).square().mean())
    end()
    assert {"layer 0", "layer 2"} <= set(decision.measurement)
    assert History.from_jsonl(tmp_path / "run.jsonl")[-1].measurement == decision.measurement
