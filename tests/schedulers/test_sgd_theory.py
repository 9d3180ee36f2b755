"""The chapter's figures, the lemma itself, and the limits it implies."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from curved import Matrix
from hypothesis import given
from hypothesis import strategies as st

from lrscape.landscape import top_eigenvalues
from lrscape.schedulers import min_warmup_steps, optimal_constant_lr, sgd_bound, sgd_bound_so_far

RATES = st.lists(st.floats(1e-3, 10), min_size=1, max_size=30)
CONSTANT = st.floats(1e-2, 1e2)
EXAMPLE = (100.0, 2.0, 1.0)  # Δ, L and σ² with Lσ²/2 = 1


def test_the_chapters_figures():
    two = [0.1] * 50 + [0.025] * 50
    assert sgd_bound([0.1] * 100, *EXAMPLE) == pytest.approx(10.1, rel=1e-14)
    assert sgd_bound([0.025] * 100, *EXAMPLE) == pytest.approx(40.025, rel=1e-14)
    assert sgd_bound(two, *EXAMPLE) == pytest.approx(100.53125 / 6.25, rel=1e-14)
    t = np.arange(1, 101)  # the chapter counts steps from 1
    assert sgd_bound(0.05 * (1 + np.cos(np.pi * t / 100)), *EXAMPLE) == pytest.approx(20.2768, abs=5e-5)
    assert optimal_constant_lr(100, *EXAMPLE) == 1.0
    assert sgd_bound([1.0] * 100, *EXAMPLE) == 2.0


@given(RATES, CONSTANT, CONSTANT, CONSTANT)
def test_no_schedule_beats_the_best_constant(rates, delta, smoothness, sigma2):
    best = optimal_constant_lr(len(rates), delta, smoothness, sigma2)
    least = sgd_bound([best] * len(rates), delta, smoothness, sigma2)
    assert least == pytest.approx(np.sqrt(2 * delta * smoothness * sigma2 / len(rates)), rel=1e-12)
    assert sgd_bound(rates, delta, smoothness, sigma2) >= least * (1 - 1e-12)


@given(RATES, CONSTANT, CONSTANT, CONSTANT)
def test_the_bound_so_far_is_the_bound_of_each_beginning(rates, delta, smoothness, sigma2):
    expected = [sgd_bound(rates[: t + 1], delta, smoothness, sigma2) for t in range(len(rates))]
    np.testing.assert_allclose(sgd_bound_so_far(rates, delta, smoothness, sigma2), expected, rtol=1e-12)


@given(st.lists(st.floats(0.01, 1.9), min_size=1, max_size=30), CONSTANT, st.floats(-3, 3), st.floats(0, 2))
def test_the_lemma_holds_on_a_quadratic(shares, curvature, start, noise):
    rates = np.array(shares) / curvature
    square, squares = start**2, []  # E x² under x ← x − η(Lx + noise), exactly
    for rate in rates:
        squares.append(square)
        square = (1 - rate * curvature) ** 2 * square + rate**2 * noise**2
    gradients = curvature**2 * np.array(squares)
    bound = sgd_bound(rates, curvature * start**2 / 2, curvature, gradients.max() + noise**2)
    assert gradients.min() <= bound * (1 + 1e-12)


@given(st.floats(1e-6, 1e3), st.floats(1e-3, 1e6))
def test_the_warmup_is_the_shortest_stable_one(rate, curvature):
    steps = min_warmup_steps(rate, curvature)
    edge = 2 / Fraction(curvature)
    assert Fraction(rate) / steps < edge
    assert steps == 1 or Fraction(rate) / (steps - 1) >= edge


def test_a_measured_curvature_says_how_long_to_warm_up():
    model = Matrix(torch.diag(torch.tensor([1.0, 300.0])), at=[1.0, 1.0])
    measured = top_eigenvalues(model, model.loss, 1).eigenvalues[0]
    assert measured == pytest.approx(300)
    assert min_warmup_steps(0.1, 0.999 * float(measured)) == 15


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sgd_bound([], 1, 1, 1), "lrs must be the rate of each step"),
        (lambda: sgd_bound([[0.1]], 1, 1, 1), r"got shape \(1, 1\)"),
        (lambda: sgd_bound([0.0, 0.0], 1, 1, 1), "not all 0"),
        (lambda: sgd_bound([-0.1], 1, 1, 1), "not negative"),
        (lambda: sgd_bound([0.1], -1, 1, 1), "delta must be"),
        (lambda: sgd_bound([0.1], 1, float("nan"), 1), "smoothness must be"),
        (lambda: sgd_bound_so_far([0.1], 1, 1, -1), "sigma2 must be"),
        (lambda: optimal_constant_lr(0, 1, 1, 1), "steps must be positive"),
        (lambda: optimal_constant_lr(5, 1, 1, 0), "sigma2 must be positive"),
        (lambda: min_warmup_steps(0.1, -3.0), "smoothness must be positive"),
        (lambda: min_warmup_steps(float("inf"), 1.0), "lr must be positive"),
    ],
)
def test_bad_numbers(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_rates_of_zero_at_the_start():
    assert sgd_bound_so_far([0.0, 1.0], *EXAMPLE).tolist() == [np.inf, 101.0]
