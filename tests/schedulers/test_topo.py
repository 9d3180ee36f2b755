import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import LossSurface, features, grid
from lrscape.schedulers import TopoLR, TopoMeasurement, published_rule

REFERENCE = json.loads((Path(__file__).parent.parent / "reference" / "topoadamw.json").read_text())


def measurement(loss=1.0, sharpness=0.0, variance=0.0, curvature=1.0):
    return TopoMeasurement(loss, sharpness, variance, curvature, 0.0, 0.0)


def scheduler(**options):
    model = nn.Linear(3, 2)
    return TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model, **options)


@pytest.mark.parametrize("name", REFERENCE["analytic"])
def test_published_factor_of_the_analytic_grids(name):
    values = np.array(REFERENCE["analytic"][name]["grid"])
    made = grid(7)
    found = features(LossSurface(made.coordinates, values.ravel(), made.shape))
    assert published_rule(found.sharpness, found.variance)[0] == REFERENCE["analytic"][name]["factor"]


def test_published_factor_of_the_measured_probes():
    for kind in ("sparse", "dense"):
        entry = REFERENCE[kind]
        assert published_rule(entry["sharpness"], entry.get("variance", entry.get("variance_pop_std")))[0] == 1.15


@pytest.mark.parametrize(
    ("sharpness", "variance", "factor"),
    [
        (0.0, 0.0, 1.15), (-5.0, 0.0, 1.15), (0.0, 0.3, 1.0), (0.1, 0.0, 1.0), (0.51, 0.0, 0.80), (0.51, 0.9, 0.80),
        (0.3, 0.51, 0.85), (0.0, 0.51, 0.85), (0.21, 0.0, 0.95), (0.5, 0.5, 0.95), (0.2, 0.5, 1.0),
        (math.nan, math.nan, 1.0),
    ],
)  # fmt: skip
def test_published_rule_in_its_order(sharpness, variance, factor):
    assert published_rule(sharpness, variance)[0] == factor


finite = st.floats(-1, 1)


@given(st.lists(st.tuples(st.floats(0.01, 100), finite, st.floats(0, 1)), min_size=1, max_size=30))
def test_published_rates_are_those_of_the_published_code(probes):
    """The published controller in ten lines: EMA first, then the comparison; rates clipped one after the other."""
    ours = scheduler(preset="published", min_ratio=0.2)
    lr, ema = 1.0, None
    for loss, s, v in probes:
        factor = 1.15 if s < 0.1 and v < 0.3 else 0.8 if s > 0.5 else 0.85 if v > 0.5 else 0.95 if s > 0.2 else 1.0
        ema = loss if ema is None else 0.2 * loss + 0.8 * ema
        factor = 0.8 if loss > 2 * ema else factor
        if abs(factor - 1) > 0.05:  # with floats this holds for .95 too
            lr = max(min(lr * factor, 1.0), 0.2)
        ours.observe(measurement(loss, s, v))
        assert ours.factors[0] == pytest.approx(lr, rel=1e-12)


def test_published_brake_has_the_published_threshold_and_the_corrected_one_its_own():
    """Updating the average before comparing makes the threshold 8/3 of the previous average."""
    for loss, brakes in ((2.6, False), (2.7, True)):
        published = scheduler(preset="published")
        published.observe(measurement(1.0))
        assert (published.observe(measurement(loss)).reason == "brake") is brakes
    for loss, brakes in ((1.9, False), (2.1, True)):
        corrected = scheduler()
        corrected.observe(measurement(1.0))
        assert (corrected.observe(measurement(loss)).reason == "brake") is brakes


@given(st.lists(st.floats(-2, 1e4), min_size=1, max_size=20), st.floats(0.1, 2), st.floats(0, 0.9))
def test_corrected_rule_in_ten_lines(curvatures, gamma, smoothing):
    ours = scheduler(gamma=gamma, smoothing=smoothing, min_ratio=0.05)
    s = s0 = None
    factor = 1.0
    for q in curvatures:
        if q > 0:
            s = math.log(q) if s is None else smoothing * s + (1 - smoothing) * math.log(q)
            if s0 is None:
                s0 = s
            else:
                factor = min(max(math.exp(min(gamma * (s0 - s), 99.0)), 0.05), 1.0)
        ours.observe(measurement(curvature=q))
        assert ours.factors[0] == pytest.approx(factor, rel=1e-12)


@given(st.floats(1e-6, 1e6))
def test_corrected_rule_does_not_depend_on_the_scale_of_the_loss(scale):
    one, other = scheduler(), scheduler()
    for loss, q in ((1.0, 1.0), (0.9, 3.0), (0.8, 20.0)):
        one.observe(measurement(loss, curvature=q))
        other.observe(measurement(loss * scale, curvature=q * scale))
    assert other.factors[0] == pytest.approx(one.factors[0], rel=1e-9)


def test_factor_is_the_inverse_square_root_of_the_curvature():
    ours = scheduler(smoothing=0.0)
    ours.observe(measurement(curvature=2.0))
    ours.observe(measurement(curvature=50.0))
    assert ours.factors[0] == pytest.approx(math.sqrt(2 / 50))
    assert ours.observe(measurement(curvature=-1.0)).reason == "saddle"
    assert ours.factors[0] == pytest.approx(math.sqrt(2 / 50))


def test_non_finite_loss_brakes_without_poisoning():
    ours = scheduler()
    ours.observe(measurement(curvature=2.0))
    with pytest.warns(RuntimeWarning, match="said once"):
        decision = ours.observe(measurement(loss=math.nan, curvature=math.nan))
    assert (decision.reason, decision.factors) == ("non-finite", [0.8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.observe(measurement(loss=math.inf, curvature=math.inf))
    assert ours.observe(measurement(curvature=8.0)).factors[0] == pytest.approx(math.exp(0.5 * 0.3 * -math.log(4)))


def test_measured_curvature_is_that_of_the_loss():
    """For a quadratic loss ½θᵀAθ the in-plane Hessian is DᵀAD."""
    model = nn.Linear(4, 3, bias=False).double()
    a = torch.diag(torch.arange(1.0, 13.0, dtype=torch.float64))

    def closure():
        theta = model.weight.flatten()
        return theta @ a @ theta / 2

    ours = TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model, seed=5)
    found = ours.measure(closure)
    from lrscape.landscape import random_directions

    d = random_directions(model, 2, seed=(5, 0)).tensors["weight"].reshape(2, -1)
    assert found.curvature == pytest.approx(float(torch.linalg.eigvalsh(d @ a @ d.T)[-1]), rel=1e-8)
    gradient = d @ a @ model.weight.detach().flatten()
    assert found.gradient == pytest.approx(float(gradient.norm()), rel=1e-8)
    assert found.roughness < 1e-12
    assert ours.measure(closure).curvature != found.curvature  # a new plane each time


def test_a_closure_over_something_else_is_told_once():
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    ours = TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model)
    with pytest.warns(RuntimeWarning, match="does not depend on the parameters"):
        ours.measure(lambda: other.weight.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.measure(lambda: other.weight.sum())


def test_history_prints_its_latest_decision():
    ours = scheduler()
    ours.observe(measurement(curvature=2.0))
    assert repr(ours.history).startswith("<History of 1 decisions, the latest: Decision(step=0")


def test_published_preset_uses_25_points_and_moves_biases():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    calls = []

    def closure():
        calls.append([p.detach().clone() for p in model.parameters()])
        return F.mse_loss(model(torch.ones(1, 3)), torch.zeros(1, 2))

    published = TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model, preset="published", engine="inplace")
    published.measure(closure)
    assert len(calls) == 25
    assert not torch.equal(calls[0][1], calls[1][1])
    calls.clear()
    TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model, engine="inplace").measure(closure)
    assert len(calls) == 9
    assert torch.equal(calls[0][1], calls[1][1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "best"}, "preset must be 'corrected' or 'published'"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
        ({"gamma": 0}, "gamma must be positive"),
        ({"brake": 1.0}, "brake must be above 1"),
        ({"interval": 0}, "interval must be a whole number of at least 1"),
        ({"warmup": -1}, "warmup must be a whole number of at least 0"),
        ({"history_size": 1.5}, "history_size must be a whole number"),
        ({"span": -1}, "span must be a positive number"),
        ({"samples": -1}, "samples must not be negative"),
        ({"min_ratio": 2.0}, "min_ratio must not exceed max_ratio"),
        ({"max_ratio": math.inf}, "max_ratio must be positive and finite"),
        ({"batch_norm": "train"}, "batch_norm must be one of"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        scheduler(**options)


def test_a_model_with_nothing_to_move_is_refused_at_once():
    model = nn.Linear(2, 2).requires_grad_(False)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(ValueError, match="no parameter that can move"):
        TopoLR(optimizer, model)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        TopoLR(optimizer, optimizer)
    with pytest.raises(TypeError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        TopoLR(model, nn.Linear(1, 1))


def test_inner_must_fit():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    other = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(TypeError, match="ReduceLROnPlateau"):
        TopoLR(optimizer, model, inner=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer))
    with pytest.raises(ValueError, match="same optimizer"):
        TopoLR(optimizer, model, inner=torch.optim.lr_scheduler.ExponentialLR(other, 0.9))
    with pytest.raises(ValueError, match=r"is not a state of TopoLR: factors, rates missing"):
        TopoLR(optimizer, model).load_state_dict({"last_epoch": 3})
    nested = TopoLR(optimizer, model, inner=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9))
    with pytest.raises(ValueError, match="has an inner scheduler"):
        TopoLR(optimizer, model).load_state_dict(nested.state_dict())


def test_history_as_json_lines(tmp_path):
    ours = scheduler()
    ours.observe(measurement(curvature=2.0))
    with pytest.warns(RuntimeWarning):
        ours.observe(measurement(loss=math.nan))
    ours.history.to_jsonl(tmp_path / "history.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["reference", "non-finite"]
    assert lines[0]["measurement"]["curvature"] == 2.0
    assert lines[1]["measurement"]["loss"] is None
    assert lines[1]["rates"] == [0.8]


def test_only_the_latest_hundred_decisions_are_saved():
    ours = scheduler()
    for _ in range(150):
        ours.observe(measurement())
    assert len(ours.history) == 150
    assert len(ours.state_dict()["history"]) == 100


def test_a_rate_that_the_user_sets_stays_set():
    ours = scheduler()
    optimizer = ours.optimizer
    ours.observe(measurement(curvature=1.0))
    ours.observe(measurement(curvature=100.0))
    optimizer.step()
    ours.step()
    optimizer.param_groups[0]["lr"] = 0.123
    ours.step()
    assert optimizer.param_groups[0]["lr"] == 0.123


def test_parameters_may_be_an_iterator():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    losses = []
    for chosen in (iter(["0.weight"]), ["0.weight"]):
        scheduler = TopoLR(torch.optim.SGD(model.parameters(), lr=0.1), model, parameters=chosen, interval=1, warmup=0)
        closure = lambda: model(torch.ones(4, 2)).square().mean()  # noqa: E731
        losses.append([scheduler.measure(closure) for _ in range(2)])
    assert [found.curvature for found in losses[0]] == [found.curvature for found in losses[1]]
    assert losses[0][0].curvature != losses[0][1].curvature


def test_frozen_batch_norm_and_tied_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model[1].eval()
    x = torch.randn(8, 4)
    ours = TopoLR(torch.optim.SGD(model.parameters(), lr=0.1), model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours.measure(lambda: model(x).square().mean())
    assert [m.training for m in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[2].weight is model[0].weight
