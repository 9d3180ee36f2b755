"""The height's closed form against an exact recursion, a simulation and known limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.schedulers.valley_theory import coefficients, retreat, smoothing_weight, window_weight


def recursion(weight, growth, contraction, steps=4000):
    """Second moments of (x, x̄) with unit noise, and the lag s − s̄, in units of the next step's rate."""
    xx = xm = mm = lag = 0.0
    q, shrink = 1 - weight, 1 / growth
    for _ in range(steps):
        xx, xm, mm = contraction**2 * xx + 1, contraction * xm, mm
        xx, xm, mm = xx, q * xm + weight * xx, q**2 * mm + 2 * q * weight * xm + weight**2 * xx
        lag = q * (lag + 1)
        xx, xm, mm, lag = xx * shrink**2, xm * shrink**2, mm * shrink**2, lag * shrink
    return xx - mm, lag


@pytest.mark.parametrize("growth", [1.0, 1.02, 1.2, 2.0])
@pytest.mark.parametrize("weight", [0.05, 0.365, 0.9])
@pytest.mark.parametrize("contraction", [0.3, 0.635, 0.99, 1.0])
def test_closed_form_agrees_with_recursion(growth, weight, contraction):
    if growth == contraction:
        with pytest.raises(ValueError, match="growth"):
            coefficients(weight, growth, contraction)
        return
    found = coefficients(weight, growth, contraction)
    noise, drift = recursion(weight, growth, contraction)
    assert found.noise == pytest.approx(noise, rel=1e-8)
    assert found.drift == pytest.approx(drift, rel=1e-8)


def test_equal_decays_are_the_limit_of_unequal_ones():
    exact = coefficients(0.25, 1.1, 0.75)
    near = coefficients(0.25, 1.1, 0.75 + 1e-5)
    assert exact.noise == pytest.approx(near.noise, rel=1e-4)
    assert exact.noise == pytest.approx(recursion(0.25, 1.1, 0.75)[0], rel=1e-9)


@given(st.floats(1e-5, 0.02), st.floats(0.01, 3.0))
def test_turn_depends_on_growth_per_window_alone(weight, per_window):
    found = coefficients(weight, math.exp(per_window * weight)).overshoot
    r = per_window
    assert found == pytest.approx(2 / (1 + r) / (2 / (1 + 2 * r) - 1 / (2 + 2 * r)), rel=0.1)
    assert 1.2 < found < 4.2


def test_safe_growth_is_where_a_step_gains_nothing():
    for speed in (1e-2, 1e-3, 1e-4):
        assert coefficients(window_weight(math.exp(speed)), math.exp(speed)).overshoot == pytest.approx(
            2, rel=2 * speed
        )
    for growth in (1.05, 1.1, 1.2, 1.4):
        assert coefficients(window_weight(growth), growth).overshoot <= 2


@pytest.mark.parametrize("growth", [1.05, 1.2])
def test_simulated_valley_turns_where_the_closed_form_says(growth):
    """Many runs of SGD on L = ½·h·x² − g·s: the mean height changes sign at the predicted rate."""
    curvature, deviation, slope, runs = 1.0, 1.0, 0.03, 40_000
    weight = window_weight(growth)
    predicted = coefficients(weight, growth).turning_rate(slope**2, curvature, deviation**2)
    assert predicted * curvature < 0.1 * math.log(growth)  # slow walls, as the derivation assumes
    stream = np.random.default_rng(0)
    rate, x, averaged, s, s_averaged = predicted / 50, np.zeros(runs), np.zeros(runs), 0.0, 0.0
    turned = None
    while turned is None:
        x += rate * (deviation * stream.standard_normal(runs) - curvature * x)
        averaged += weight * (x - averaged)
        s += rate * slope
        s_averaged += weight * (s - s_averaged)
        rate *= growth
        height = 0.5 * curvature * np.mean(x**2 - averaged**2) - slope * (s - s_averaged)
        if height > 0:
            turned = rate
    assert predicted / growth < turned < predicted * growth**1.5


def test_height_of_a_noise_floor_at_a_constant_rate():
    """At a constant rate the height is the stationary variance less the average's; simulated over one long run."""
    rate, curvature, weight = 0.2, 1.0, 0.1
    expected = coefficients(weight, 1.0, 1 - rate * curvature).height(rate, 0.0, curvature, 1.0)
    stream = np.random.default_rng(1)
    x, m, total = np.zeros(4000), np.zeros(4000), 0.0
    for step in range(600):
        x += rate * (stream.standard_normal(4000) - curvature * x)
        m += weight * (x - m)
        total += 0.5 * curvature * np.mean(x**2 - m**2) if step >= 200 else 0.0
    assert total / 400 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("call", [
    lambda: coefficients(0.0), lambda: coefficients(1.0), lambda: coefficients(0.1, 0.9),
    lambda: coefficients(0.1, 1.1, 0.0), lambda: window_weight(1.0), lambda: window_weight(math.inf),
])  # fmt: skip
def test_numbers_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"weight|growth|contraction"):
        call()


def test_retreat_undoes_the_lag_at_any_speed():
    """What is undone is the growth while the smoothed height lags, by 1/λ steps, and the factor 2 of the turn."""
    for growth in (1.01, 1.05, 1.2):
        assert retreat() == pytest.approx(2 * growth ** (1 / smoothing_weight(growth)))
