"""CurvatureWarmup: growth, the edge, and the end."""

import copy
import math

import pytest
import torch
from curved import Matrix
from torch.optim import lr_scheduler as torchs

from lrscape.schedulers import CurvatureWarmup, KappaMeasurement, SharpnessMeasurement


def problem(lr):
    model = Matrix(torch.diag(torch.tensor([1.0, 20.0])), [1.0, 1.0])
    return model, torch.optim.SGD(model.parameters(), lr=lr)


def start(lr=1.0, **options):
    model, optimizer = problem(lr)
    return model, optimizer, CurvatureWarmup(optimizer, model, margin=0.9, tolerance=1e-10, **options)


def rates(model, optimizer, scheduler, steps):
    taken = []
    for _ in range(steps):
        scheduler.probe(model.loss)
        taken.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return taken


def test_without_an_edge_in_the_way_it_is_geometric_and_ends():
    model, optimizer, scheduler = start(lr=0.05)
    taken = rates(model, optimizer, scheduler, 600)
    assert taken == pytest.approx([min(0.0005 * 1.01**t, 0.05) for t in range(600)], rel=1e-9)
    assert scheduler.finished
    assert scheduler.history[-1].step < 464  # ln 100 / ln 1.01 = 462.8
    assert {decision.reason for decision in scheduler.history} == {"growing"}


def test_it_climbs_to_the_edge_and_stays_there():
    model, optimizer, scheduler = start(lr=1.0, growth=1.05)
    taken = rates(model, optimizer, scheduler, 200)
    assert taken == pytest.approx([min(0.01 * 1.05**t, 0.09) for t in range(200)], rel=1e-8)
    assert [decision.reason for decision in scheduler.history][-1] == "edge"
    assert not scheduler.finished


def test_it_goes_on_from_where_it_is_when_the_edge_recedes():
    model, optimizer, scheduler = start(lr=1.0, growth=1.05, smoothing=0.0)
    rates(model, optimizer, scheduler, 200)
    model.matrix = torch.diag(torch.tensor([1.0, 2.0])).double()
    taken = rates(model, optimizer, scheduler, 40)  # the probe at 200 sees it
    assert taken == pytest.approx([min(0.09 * 1.05**t, 0.9) for t in range(40)], rel=1e-8)


def test_published_rule_stands_while_kappa_is_high():
    _, optimizer, scheduler = start(criterion="kappa", lr=1.0)
    expected = current = 0.01
    for value in (1.0, 1e5, 1e6, 1e7, 999_999.0, 1.0):
        decision = scheduler.observe(KappaMeasurement(value, 0.0, 1.0, 1.0, 1.0, 10))
        assert decision.reason == ("growing" if value < 1e6 else "high kappa")
        optimizer.step()
        scheduler.step()
        current = min(current * 1.01, 1.0) if value < 1e6 else current
        assert optimizer.param_groups[0]["lr"] == pytest.approx(current, rel=1e-12)
    assert current > expected
    assert (scheduler.interval, scheduler.ceiling, scheduler.start, scheduler.growth) == (1, 1e6, 0.01, 1.01)


def test_afterwards_inner_goes_on_and_nothing_is_measured():
    model, optimizer = problem(0.05)
    inner = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    scheduler = CurvatureWarmup(optimizer, model, margin=0.9, growth=1.2, inner=inner)
    calls = []

    def loss():
        calls.append(len(calls))
        return model.loss()

    for t in range(1, 301):
        scheduler.probe(loss)
        optimizer.step()
        scheduler.step()
        if t == 30:
            assert scheduler.finished
            calls.clear()
        if t >= 30:
            expected = 0.025 * (1 + math.cos(math.pi * t / 300))
            assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert not calls


def test_not_finite_stands_until_a_finite_measurement():
    _, optimizer, scheduler = start(lr=1.0)
    with pytest.warns(RuntimeWarning, match="not finite"):
        scheduler.observe(SharpnessMeasurement(math.nan, 0.0, 2.0, 0.01, 1.0, 1))
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.008)
    scheduler.observe(SharpnessMeasurement(1.0, 0.0, 2.0, 0.008, 1.0, 1))
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.008 * 1.01)


def in_sequence(milestone, growth=1.05):
    model, optimizer = problem(1.0)
    flat = torchs.ConstantLR(optimizer, 0.001, 10**6)
    scheduler = CurvatureWarmup(optimizer, model, margin=0.9, tolerance=1e-10, growth=growth)
    return model, optimizer, scheduler, torchs.SequentialLR(optimizer, [flat, scheduler], [milestone])


def rates_in_sequence(model, optimizer, scheduler, chain, steps, probes=True):
    taken = []
    for _ in range(steps):
        if probes:
            scheduler.probe(model.loss)
        taken.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
    return taken


@pytest.mark.parametrize("probes", [True, False])
def test_in_a_sequential_it_grows_from_its_own_part_on(probes):
    run = in_sequence(300)
    taken = rates_in_sequence(*run, 400, probes)
    assert taken[:300] == [0.001] * 300
    limit = 0.09 if probes else 1.0
    assert taken[300:] == pytest.approx([min(0.01 * 1.05**t, limit) for t in range(100)], rel=1e-8)
    if probes:
        assert run[2].history[0].step == 300  # at once, and nothing before


@pytest.mark.parametrize("half", [7, 10, 11, 25])
def test_in_a_sequential_it_resumes_bit_for_bit(half):
    whole, again = in_sequence(10), in_sequence(10)
    rates_in_sequence(*whole, half)
    for part, twin in ((whole[0], again[0]), (whole[1], again[1]), (whole[3], again[3])):
        twin.load_state_dict(copy.deepcopy(part.state_dict()))
    assert rates_in_sequence(*again, 40) == rates_in_sequence(*whole, 40)


def test_first_in_a_sequential_it_starts_low():
    model, optimizer = problem(1.0)
    inner = torchs.ExponentialLR(optimizer, 0.5)
    scheduler = CurvatureWarmup(optimizer, model, growth=1.05, inner=inner)
    chain = torchs.SequentialLR(optimizer, [scheduler, torchs.ConstantLR(optimizer, 0.5, 100)], [3])
    taken = rates_in_sequence(model, optimizer, scheduler, chain, 5, probes=False)
    assert taken == pytest.approx([0.01, 0.01 * 1.05 / 2, 0.01 * 1.05**2 / 4, 0.5, 0.5])


@pytest.mark.parametrize("options", [{"start": 0.0}, {"growth": 1.0}, {"ceiling": math.inf}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        start(**options)
