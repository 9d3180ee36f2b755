"""AdaptiveHomotopyLR: the ramp, the learnt target and the edge."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrscape.schedulers import AdaptiveHomotopyLR, KappaMeasurement, SharpnessMeasurement


def scheduler(lr=0.5, **options):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return AdaptiveHomotopyLR(optimizer, model, margin=0.9, min_ratio=1e-12, **options)


def high(value):
    return KappaMeasurement(value, 0.0, 1.0, 1.0, 1.0, 10)


def sharp(sharpness, rate):
    return SharpnessMeasurement(sharpness, 0.0, 2.0, rate, 1.0, 1)


class Published:
    """The published class without its optimizer."""

    def __init__(self, warmup_steps, adaptation_rate):
        self.warmup_steps, self.adaptation_rate = warmup_steps, adaptation_rate
        self.history, self.target = [], None

    def update(self, kappa):
        self.history.append(kappa)
        if len(self.history) == self.warmup_steps:
            self.target = np.percentile(self.history, 75)
        if self.target is not None:
            recent = np.percentile(self.history[-100:], 75)
            self.target = (1 - self.adaptation_rate) * self.target + self.adaptation_rate * recent
        if self.target is None:
            return len(self.history) / self.warmup_steps
        return 1 / (1 + max(0, kappa / self.target - 1))


@given(st.integers(1, 150), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_published_rule(ramp, drift, seed):
    ours, theirs = scheduler(criterion="kappa", ramp=ramp, drift=drift), Published(ramp, drift)
    for newest in np.exp(np.random.default_rng(seed).normal(5, 2, 300)):
        assert ours.observe(high(newest)).factors[0] == pytest.approx(theirs.update(newest), rel=1e-9)
    assert len(ours._estimates) <= max(ramp, 100)


def test_published_numbers_are_the_defaults_of_kappa():
    published, corrected = scheduler(criterion="kappa"), scheduler()
    assert (published.ramp, published.drift, published.interval) == (1000, 0.01, 1)
    assert (corrected.ramp, corrected.drift, corrected.interval) == (20, 0.01, 200)


def test_reasons_in_order():
    ours = scheduler(ramp=4, drift=0.0, interval=1)
    rate = 0.5
    reasons = []
    for sharpness in (1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 100.0, 1.0):
        decision = ours.observe(sharp(sharpness, rate))
        rate = decision.rates[0]
        ours.optimizer.step()
        ours.step()
        reasons.append(decision.reason)
    # at 100 the learnt target allows .5/100, the edge .9·2/100 = .018; afterwards the edge still remembers
    assert reasons == ["ramp", "ramp", "ramp", "usual", "sharp", "usual", "sharp", "edge"]
    assert rate == pytest.approx(0.9 * 2 / 100**0.8, rel=1e-9)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30), st.integers(1, 10), st.floats(0.01, 100))
@settings(max_examples=30)
def test_rates_stay_below_the_edge_whatever_the_target(sharpnesses, ramp, lr):
    ours = scheduler(lr=lr, ramp=ramp)
    rate = lr
    for sharpness in sharpnesses:
        rate = ours.observe(sharp(sharpness, rate)).rates[0]
        ours.optimizer.step()
        ours.step()
        assert rate <= max(0.9 * 2 / sharpness, 1e-12 * lr) * (1 + 1e-9)


@given(st.lists(st.floats(1e-2, 1e2), min_size=5, max_size=30), st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_the_learnt_target_does_not_depend_on_the_scale_of_the_loss(sharpnesses, scale):
    one, other = scheduler(lr=1e-9, ramp=3), scheduler(lr=1e-9, ramp=3)  # far below any edge
    for sharpness in sharpnesses:
        a, b = one.observe(sharp(sharpness, 1e-9)), other.observe(sharp(scale * sharpness, 1e-9))
        assert a.factors == pytest.approx(b.factors, rel=1e-9)


def test_a_loss_without_curvature_divides_nothing_by_zero():
    ours = scheduler(criterion="kappa", ramp=1)
    assert ours.observe(high(0.0)).factors == [1.0]
    assert math.isfinite(ours.observe(high(1.0)).factors[0])


@pytest.mark.parametrize(("options", "match"), [({"ramp": 0}, "ramp"), ({"drift": 1.5}, "drift")])
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        scheduler(**options)
