"""Schedules known beforehand: every step against its formula, against torch's own, composed and resumed."""

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from lrscape.schedulers import (
    RiverLR,
    RiverMeasurement,
    cosine,
    linear_warmup,
    multi_stage,
    planned_rates,
    wsd,
    wsd_s,
)
from lrscape.schedulers.decay_shapes import decayed
from lrscape.schedulers.stages import Stages

SHAPES = ["linear", "cosine", "sqrt", "inverse"]


def left(shape, p, m):
    """What a decay leaves, from the floor up."""
    if shape == "linear":
        return 1 - p * (1 - m)
    if shape == "cosine":
        return m + (1 - m) * math.cos(math.pi * p / 2) ** 2
    if shape == "sqrt":
        return 1 - (1 - m) * p**0.5
    return m / (m * (1 - p) + p)


@given(st.integers(0, 9), st.integers(10, 40))
def test_warmup_follows_its_formula(steps, total):
    rates = planned_rates(lambda optimizer: linear_warmup(optimizer, steps), 0.3, total)
    expected = [0.3 * min(1, t / steps) if steps else 0.3 for t in range(1, total + 1)]
    np.testing.assert_allclose(rates, expected, rtol=1e-14)


@given(st.integers(0, 9), st.integers(10, 40), st.floats(0, 1))
def test_cosine_follows_its_formula(warmup, total, floor):
    rates = planned_rates(lambda optimizer: cosine(optimizer, total, warmup=warmup, floor=floor), 0.3, total + 5)
    for t, rate in enumerate(rates):
        p = min(1, (t - warmup) / (total - warmup))
        expected = (t + 1) / warmup if t < warmup else floor + (1 - floor) * (1 + math.cos(math.pi * p)) / 2
        assert rate == pytest.approx(0.3 * expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
@given(st.integers(0, 9), st.integers(1, 20), st.integers(0, 20), st.floats(0.01, 1))
def test_wsd_follows_its_formula(shape, warmup, decay, stable, floor):
    total = warmup + stable + decay
    make = {"warmup": warmup, "decay": decay, "shape": shape, "floor": floor}
    rates = planned_rates(lambda optimizer: wsd(optimizer, total, **make), 0.3, total + 5)
    for t, rate in enumerate(rates):
        p = min(max((t - warmup - stable) / decay, 0), 1)
        expected = (t + 1) / warmup if t < warmup else left(shape, p, floor)
        assert rate == pytest.approx(0.3 * expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=4), st.floats(0.01, 1))
def test_wsd_s_repeats_a_constant_rate_and_a_decay(shape, rounds, floor):
    ends = np.cumsum([stable + decay for stable, decay in rounds]).tolist()
    decays = [decay for _, decay in rounds]
    make = {"decay": decays, "shape": shape, "floor": floor}
    rates = planned_rates(lambda optimizer: wsd_s(optimizer, ends, **make), 1.0, ends[-1])
    expected = []
    for stable, decay in rounds:
        expected += [1.0] * stable + [left(shape, i / decay, floor) for i in range(decay)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@given(st.lists(st.tuples(st.integers(1, 12), st.floats(0.1, 2)), min_size=1, max_size=4))
def test_stages_restart_at_their_peaks(shape, stages):
    lengths, peaks = [length for length, _ in stages], [peak for _, peak in stages]
    make = {"peaks": peaks, "shape": shape, "floor": 0.1}
    rates = planned_rates(lambda optimizer: multi_stage(optimizer, lengths, **make), 2.0, sum(lengths))
    expected = [2 * peak * left(shape, i / length, 0.1) for length, peak in stages for i in range(length)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_they_equal_torchs_own():
    def warm(optimizer):
        parts = [
            torchs.LinearLR(optimizer, 1 / 5, total_iters=4),
            torchs.CosineAnnealingLR(optimizer, 15, eta_min=0.01),
        ]
        return torchs.SequentialLR(optimizer, parts, milestones=[5])

    pairs = [
        (lambda o: cosine(o, 20, warmup=5, floor=0.1), warm, 21),
        (lambda o: cosine(o, 20), lambda o: torchs.CosineAnnealingLR(o, 20), 21),
        (lambda o: multi_stage(o, [6] * 3), lambda o: torchs.CosineAnnealingWarmRestarts(o, 6), 18),
        (lambda o: wsd(o, 9, decay=9, floor=0.0), lambda o: torchs.LinearLR(o, 1.0, 0.0, total_iters=9), 12),
    ]
    for ours, theirs, steps in pairs:
        expected = planned_rates(theirs, 0.1, steps)
        np.testing.assert_allclose(planned_rates(ours, 0.1, steps), expected, rtol=1e-12, atol=1e-16)


def test_defaults_of_wsd():
    assert planned_rates(lambda o: wsd(o, 30), 1.0, 31)[[0, 26, 27, 28, 30]].tolist() == pytest.approx([
        1,
        1,
        1,
        2 / 3,
        0,
    ])
    inverse = planned_rates(lambda o: wsd(o, 30, shape="inverse"), 1.0, 31)
    assert inverse[-1] == pytest.approx(0.1)
    rounds = planned_rates(lambda o: wsd_s(o, [10, 40]), 1.0, 41)
    assert np.flatnonzero(rates_fall(rounds)).tolist() == [36, 37, 38, 39]  # 1 step of decay falls at its end only
    assert rounds[10] == 1.0


def rates_fall(rates):
    return np.diff(rates) < 0


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_every_group_keeps_its_own_rate(kind):
    groups = [{"params": [torch.zeros(1)], "lr": kind(rate)} for rate in (0.5, 0.05)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    scheduler = wsd(optimizer, 4, decay=4)
    for t in range(4):
        found = [float(group["lr"]) for group in optimizer.param_groups]
        assert found == pytest.approx([0.5 * (1 - t / 4), 0.05 * (1 - t / 4)])
        optimizer.step()
        scheduler.step()


MAKERS = {
    "warmup": lambda o: linear_warmup(o, 6),
    "cosine": lambda o: cosine(o, 20, warmup=3),
    "wsd": lambda o: wsd(o, 20, warmup=3, decay=5, shape="sqrt"),
    "wsd_s": lambda o: wsd_s(o, [8, 20], warmup=3, decay=4),
    "stages": lambda o: multi_stage(o, [8, 12], peaks=[1.0, 0.5], warmup=3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_as_inner_of_a_measuring_scheduler(name):
    plan = planned_rates(MAKERS[name], 0.1, 21)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = RiverLR(optimizer, inner=MAKERS[name](optimizer), beta=0.5)
    for t in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(plan[t] * scheduler.factors[0], rel=1e-12)
        optimizer.step()
        scheduler.observe(RiverMeasurement(1.0, 1.0 + (t % 3)))
        scheduler.step()
    assert scheduler.factors != [1.0]


@pytest.mark.parametrize("name", MAKERS)
def test_a_resumed_run_has_the_same_rates_bit_for_bit(name):
    plan = planned_rates(MAKERS[name], 0.1, 20)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = MAKERS[name](optimizer)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = MAKERS[name](optimizer)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    for rate in plan[9:]:
        assert optimizer.param_groups[0]["lr"] == rate
        optimizer.step()
        scheduler.step()


def test_in_torchs_sequential():
    def both(optimizer):
        return torchs.SequentialLR(optimizer, [linear_warmup(optimizer, 4), wsd(optimizer, 6, decay=2)], [4])

    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.5]
    assert planned_rates(both, 1.0, 10).tolist() == pytest.approx(expected)


@given(st.sampled_from(SHAPES), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_decays_fall_from_one_to_the_floor(shape, p, q, floor):
    low, high = sorted([p, q])
    assert decayed(shape, low, floor) >= decayed(shape, high, floor) - 1e-12
    assert decayed(shape, -1.0, floor) == pytest.approx(1)
    assert decayed(shape, 2.0, floor) == pytest.approx(floor)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda o: linear_warmup(o, -1), "steps must be whole numbers of at least 0, got -1"),
        (lambda o: cosine(o, 10.5), "total_steps must be whole"),
        (lambda o: cosine(o, 10, warmup=11), "no room for the 11 steps of warmup"),
        (lambda o: cosine(o, 10, floor=2), "floor is a fraction"),
        (lambda o: wsd(o, 10, warmup=6, decay=5), "stage 1 ends at step 10"),
        (lambda o: wsd(o, 10, shape="step"), "shape must be one of linear"),
        (lambda o: wsd(o, 10, shape="inverse", floor=0.0), "floor must be above 0"),
        (lambda o: wsd_s(o, [10, 10]), "stage 2 ends at step 10"),
        (lambda o: wsd_s(o, [10, 20], decay=[1]), "one entry for each stage, got 2, 1"),
        (lambda o: multi_stage(o, [5, 5], peaks=[1.0]), "one entry for each stage"),
        (lambda o: multi_stage(o, [5, 5], peaks=-1.0), "peaks must be positive"),
        (lambda o: multi_stage(o, []), "one entry for each stage"),
        (lambda o: LambdaLike(), "must construct a torch LRScheduler"),
    ],
)
def test_what_contradicts_itself_is_refused(make, match):
    with pytest.raises((ValueError, TypeError), match=match):
        planned_rates(make, 0.1, 3)


class LambdaLike:
    pass


def test_planned_rates_need_steps():
    with pytest.raises(ValueError, match="steps must be"):
        planned_rates(lambda o: linear_warmup(o, 3), 0.1, 0)


def test_a_shape_is_a_plain_function_of_the_step():
    factor = Stages(ends=(10,), decays=(10,), peaks=(1.0,), shape="cosine")
    assert [factor(t) for t in (7, 3, 7)] == [factor(7), factor(3), factor(7)]
