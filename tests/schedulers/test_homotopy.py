"""HomotopyLR: the edge on quadratics of known curvature, the published rule, when it probes and what that costs."""

import math
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from curved import Matrix
from examples import MODELS, loss_of
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import run_ranks
from torch import nn
from traces import state

from lrscape.cli.digits import digits
from lrscape.landscape import kappa
from lrscape.schedulers import CurvatureAdaptiveLR, HomotopyLR, KappaMeasurement, SharpnessMeasurement
from lrscape.schedulers.homotopy import published_factor

CURVATURES = [0.5, 3.0, 7.0, 20.0]


def quadratic(curvatures=CURVATURES, at=None):
    return Matrix(torch.diag(torch.tensor(curvatures)), [1.0] * len(curvatures) if at is None else at)


def sharp(sharpness, rate=1.0, edge=2.0):
    return SharpnessMeasurement(sharpness, 0.0, edge, rate, 1.0, 1)


def high(value):
    return KappaMeasurement(value, 0.0, 1.0, 1.0, 1.0, 10)


EDGES = {
    "sgd": (lambda p: torch.optim.SGD(p, lr=1e3), 2 / 20),
    "momentum": (lambda p: torch.optim.SGD(p, lr=1e3, momentum=0.9), 3.8 / 20),
    "nesterov": (lambda p: torch.optim.SGD(p, lr=1e3, momentum=0.9, nesterov=True), 3.8 / 2.8 / 20),
    "decay": (lambda p: torch.optim.SGD(p, lr=1e3, weight_decay=5.0), 2 / 25),
    # before the first step P = |g|, and g = curvature at 1
    "adam": (lambda p: torch.optim.Adam(p, lr=1e3, eps=0.0), 38.0),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, lr=1e3, alpha=0.75, eps=0.0), 2 * 0.5),
}


@pytest.mark.parametrize("kind", EDGES)
def test_on_a_quadratic_the_rate_is_the_formula(kind):
    make, edge = EDGES[kind]
    model = quadratic()
    scheduler = HomotopyLR(make(model.parameters()), model, margin=0.8, tolerance=1e-10, max_hvps=30)
    decision = scheduler.probe(model.loss)
    assert decision.reason == "edge"
    assert decision.rates == pytest.approx([0.8 * edge], rel=1e-8)
    assert scheduler.largest_rates == pytest.approx([0.8 * edge], rel=1e-8)


@pytest.mark.parametrize(("margin", "converges"), [(0.95, True), (1.0, False)])
def test_below_the_edge_gradient_descent_converges_and_at_the_edge_it_does_not(margin, converges):
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    scheduler = HomotopyLR(optimizer, model, margin=margin, tolerance=1e-10)
    start = model.loss().item()
    for _ in range(200):
        scheduler.probe(model.loss)
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step()
        scheduler.step()
    assert (model.loss().item() < 1e-6 * start) is converges


def test_a_loss_ten_times_as_large_divides_the_limit_by_ten_but_multiplies_the_published_rate():
    found = {}
    for criterion in ("sharpness", "kappa"):
        for factor in (1.0, 10.0):
            model = quadratic(at=[0.01] * 4)
            optimizer = torch.optim.SGD(model.parameters(), lr=1e3)
            options = {"criterion": criterion, "tolerance": 1e-10}
            scheduler = HomotopyLR(optimizer, model, interval=1, smoothing=0.0, target=1.0, **options)
            rates = scheduler.observe(scheduler.measure(lambda model=model, factor=factor: factor * model.loss())).rates
            found[criterion, factor] = rates[0]
    assert found["sharpness", 10.0] == pytest.approx(found["sharpness", 1.0] / 10, rel=1e-8)
    assert found["kappa", 10.0] == pytest.approx(found["kappa", 1.0] * 10, rel=1e-4)


def test_adams_limit_does_not_depend_on_the_scale_of_the_loss():
    limits = []
    for factor in (1.0, 10.0):
        model = quadratic()
        scheduler = HomotopyLR(torch.optim.AdamW(model.parameters(), lr=1e3, eps=0.0), model, tolerance=1e-10)
        scheduler.probe(lambda model=model, factor=factor: factor * model.loss())
        limits.append(scheduler.largest_rates[0])
    assert limits[0] == pytest.approx(limits[1], rel=1e-8)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0, 0.95), st.floats(0.1, 1))
@settings(max_examples=30)
def test_rule_in_ten_lines(sharpnesses, smoothing, margin):
    """A sharper loss counts at once, a flatter one little by little; the rate is never above what is allowed."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ours = HomotopyLR(optimizer, model, smoothing=smoothing, margin=margin, min_ratio=1e-9, interval=4)
    s = None
    for t, newest in enumerate(sharpnesses):
        w = smoothing if t >= 4 else 0.0  # no memory in the first interval
        s = newest if s is None else max(newest, math.exp(w * math.log(s) + (1 - w) * math.log(newest)))
        decision = ours.observe(sharp(newest, rate=optimizer.param_groups[0]["lr"]))
        optimizer.step()
        assert decision.rates[0] == pytest.approx(min(0.5, margin * 2 / s), rel=1e-9)
        assert decision.reason == ("edge" if margin * 2 / s < 0.5 else "free")
        assert decision.rates[0] <= margin * 2 / newest * (1 + 1e-9)
        ours.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(decision.rates[0], rel=1e-12)


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=20), st.floats(0, 0.95), st.floats(0.1, 3))
@settings(max_examples=30)
def test_published_rule_in_ten_lines(kappas, smoothing, alpha):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ours = HomotopyLR(optimizer, model, criterion="kappa", smoothing=smoothing, alpha=alpha)
    current = 1e4
    for newest in kappas:
        current = smoothing * current + (1 - smoothing) * newest
        scale = 1 / (1 + alpha * max(0, current / 1e4 - 1))
        assert ours.observe(high(newest)).rates[0] == pytest.approx(0.5 * scale, rel=1e-12)


def test_published_rule_measures_the_published_kappa_every_ten_steps():
    model, batch = MODELS["tabular"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = HomotopyLR(optimizer, model, criterion="kappa", seed=3)
    expected = kappa(model, lambda: loss_of(model, batch), seed=(3, 0)).kappa
    assert scheduler.measure(lambda: loss_of(model, batch)).kappa == expected
    assert (scheduler.interval, scheduler.target, scheduler.smoothing, scheduler.alpha) == (10, 1e4, 0.9, 1.0)
    due = []
    for t in range(1, 31):
        optimizer.step()
        due += [t] if scheduler.due() else []
    assert due == [10, 20, 30]


def test_first_probe_comes_before_the_first_step_and_protects_it():
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    scheduler = HomotopyLR(optimizer, model, margin=0.9, tolerance=1e-10)
    scheduler.probe(model.loss)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.9 * 2 / 20)
    assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]


def test_probes_are_dense_at_the_beginning():
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = HomotopyLR(optimizer, model)
    due = [0] if scheduler.due() else []
    for t in range(1, 461):
        optimizer.step()
        due += [t] if scheduler.due() else []
        assert not scheduler.due()
    assert due == [0, 12, 50, 200, 400]


def test_a_warmup_from_zero_is_limited_from_the_beginning():
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    inner = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 10)
    scheduler = HomotopyLR(optimizer, model, margin=0.9, tolerance=1e-10, inner=inner)
    assert scheduler.probe(model.loss).rates == [0.0]
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.09)


def test_limit_holds_at_every_step_of_a_rising_inner_schedule():
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    inner = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=40)
    scheduler = HomotopyLR(optimizer, model, margin=0.9, tolerance=1e-10, inner=inner)
    assert scheduler.probe(model.loss).reason == "free"
    rates = []
    for _ in range(40):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    plain = [0.01 + 0.99 * min(t, 40) / 40 for t in range(1, 41)]
    assert rates == pytest.approx([min(rate, 0.09) for rate in plain], rel=1e-8)


def test_groups_keep_their_proportions_and_the_whole_is_at_the_margin():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    groups = [{"params": model[0].parameters(), "lr": 10.0}, {"params": model[1].parameters(), "lr": 2.0}]
    scheduler = HomotopyLR(torch.optim.SGD(groups), model, margin=0.9, tolerance=1e-10)
    # sharpness 1 and 8; with rates 10 : 2 the second decides, η₂ ≤ .9·2/8
    decision = scheduler.probe(lambda: (model[0].weight ** 2 / 2 + 4 * model[1].weight ** 2).sum())
    assert decision.rates == pytest.approx([0.225 * 5, 0.225], rel=1e-5)


def test_rates_may_climb_beyond_the_optimizers_own():
    model = quadratic()
    scheduler = HomotopyLR(
        torch.optim.SGD(model.parameters(), lr=1e-3), model, max_ratio=1e3, margin=0.9, tolerance=1e-10
    )
    assert scheduler.probe(model.loss).rates == pytest.approx([0.09], rel=1e-8)


def test_without_upward_curvature_everything_stays():
    model = quadratic([-1.0, -2.0])
    scheduler = HomotopyLR(torch.optim.SGD(model.parameters(), lr=7.0), model)
    decision = scheduler.probe(model.loss)
    assert (decision.reason, decision.rates, scheduler.largest_rates) == ("saddle", [7.0], [])


def test_a_brake_is_not_undone_by_the_next_step():
    model = quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    scheduler = HomotopyLR(optimizer, model, tolerance=1e-10, interval=1)
    before = scheduler.probe(model.loss).rates[0]
    with pytest.warns(RuntimeWarning, match="not finite"):
        scheduler.observe(sharp(math.nan))
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.8 * before)
    assert scheduler.probe(model.loss).rates[0] == pytest.approx(before)


# What it costs


def train(scheduler_of, steps, kind=torch.optim.AdamW, lr=4e-3, batch=64):
    torch.manual_seed(0)
    data = digits()
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 10))
    optimizer = kind(model.parameters(), lr=lr)
    scheduler = scheduler_of(optimizer, model)
    forwards = 0
    for chosen in torch.randint(len(data.y), (steps, batch), generator=torch.Generator().manual_seed(1)):

        def loss(chosen=chosen):
            nonlocal forwards
            forwards += 1
            return F.cross_entropy(model(data.x[chosen]), data.y[chosen])

        scheduler.probe(loss)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        scheduler.step()
    return scheduler, forwards - steps


@pytest.mark.parametrize(("kind", "lr"), [(torch.optim.AdamW, 4e-3), (torch.optim.SGD, 0.3)])
def test_probing_costs_at_most_a_tenth_of_training(kind, lr):
    """A probe is one gradient with its graph and some products; per product at most 1.4 gradients (measured)."""
    steps = 1000
    scheduler, graphs = train(HomotopyLR, steps, kind, lr)
    assert graphs == len(scheduler.history)  # one forward pass per probe
    products = sum(decision.measurement["hvps"] for decision in scheduler.history)
    assert (1.4 * graphs + 1.4 * products) / steps <= 0.10


@pytest.mark.parametrize("lr", [4e-3, 1.6e-2])
def test_warm_starts_save_products(lr, monkeypatch):
    def spent():
        scheduler, _ = train(partial(HomotopyLR, interval=20, tolerance=0.1, max_hvps=40), 400, lr=lr)
        return [decision.measurement["hvps"] for decision in scheduler.history]

    warm = spent()
    monkeypatch.setattr("lrscape.schedulers.curvature_measurement.warm_start", lambda operator, last: None)
    cold = spent()
    assert len(warm) == len(cold)
    assert sum(warm) < 0.8 * sum(cold)


# What it leaves alone


@pytest.mark.parametrize("name", ["convolutional", "attention", "recurrent", "hooked", "frozen_norm"])
@pytest.mark.parametrize("criterion", ["sharpness", "kappa"])
def test_a_probe_leaves_no_trace(name, criterion):
    torch.manual_seed(0)
    model, batch = MODELS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of(model, batch).backward()
    optimizer.step()
    scheduler = HomotopyLR(optimizer, model, criterion=criterion)
    before = state(model)
    found = scheduler.measure(lambda: loss_of(model, batch))
    assert scheduler.finite(found)
    assert state(model) == before
    with pytest.raises(ZeroDivisionError):
        scheduler.measure(lambda: loss_of(model, batch) / (1 // 0))
    assert state(model) == before
    assert scheduler._probes == 1


def steered(rank, ranks):
    torch.manual_seed(0)
    model, (x, y) = MODELS["tabular"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
    scheduler = HomotopyLR(optimizer, model, interval=1, tolerance=1e-6, max_hvps=60)
    decision = scheduler.probe(lambda: loss_of(model, (x[rank::ranks], y[rank::ranks])))
    return decision.measurement["sharpness"], decision.rates


def test_ranks_measure_on_their_own_batches_and_take_the_mean():
    (first, rates), (second, others) = run_ranks(steered, 2)
    assert first == second
    assert rates == others
    apart = [steered(rank, 2)[0] for rank in range(2)]
    assert first == pytest.approx(sum(apart) / 2, rel=1e-6)


# What it is constructed with


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"criterion": "curvature"}, "criterion must be"),
        ({"margin": 0.0}, "margin"),
        ({"margin": 1.5}, "margin"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"max_hvps": 0}, "max_hvps"),
        ({"method": "lanczos"}, "method"),
        ({"mode": "fast"}, "mode"),
        ({"batch_norm": "none"}, "batch_norm"),
        ({"target": -1.0}, "target"),
        ({"alpha": math.nan}, "alpha"),
        ({"interval": 0}, "interval"),
    ],
)
def test_bad_options(options, match):
    model = quadratic()
    with pytest.raises(ValueError, match=match):
        HomotopyLR(torch.optim.SGD(model.parameters(), lr=1.0), model, **options)


def test_an_optimizer_without_a_known_edge_is_refused_for_sharpness_only():
    model = quadratic()
    optimizer = torch.optim.RAdam(model.parameters(), lr=1.0)
    with pytest.raises(ValueError, match=r"optimizer must be of a kind.*RAdam; criterion='kappa' takes any"):
        HomotopyLR(optimizer, model)
    assert HomotopyLR(optimizer, model, criterion="kappa").due() is False
    with pytest.raises(TypeError, match=r"torch\.optim\.Optimizer, got list"):
        HomotopyLR([], model)


def test_the_first_interface_is_a_factory():
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias], "lr": torch.tensor(0.25)}]
    optimizer = torch.optim.SGD(groups)
    scheduler = CurvatureAdaptiveLR(optimizer, model, base_lr=1e-4, adaptation_rate=0.25)
    assert (scheduler.criterion, scheduler.target, scheduler.smoothing) == ("kappa", 1e3, 0.75)
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([1e-4, 5e-5])
    assert isinstance(optimizer.param_groups[1]["lr"], torch.Tensor)
    assert CurvatureAdaptiveLR(optimizer, model, criterion="sharpness").criterion == "sharpness"
    for options in ({"adaptation_rate": 0.0}, {"base_lr": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            CurvatureAdaptiveLR(optimizer, model, **options)


def test_published_factor():
    assert published_factor(1e4) == 1.0
    assert published_factor(2e4, alpha=3.0) == 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert published_factor(1e300) < 1e-295
