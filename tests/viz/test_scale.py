"""Scales, levels and the numbers that are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.viz.scale import Scale, choose_scale, ratio, readable, together


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.25, "−0.25"),
        (1234.5, "1230"),
        (999.96, "1000"),
        (0.0012345, "0.00123"),
        (1e-5, "$10^{-5}$"),
        (-1e6, "$-10^{6}$"),
        (2.5e5, r"$2.5\times10^{5}$"),
        (float("nan"), "nan"),
    ],
)
def test_readable(value, text):
    assert readable(value) == text


@given(st.floats(1e-9, 1e9), st.floats(1.0001, 1e12), st.booleans())
def test_ticks_lie_in_the_range_and_levels_cover_it(low, factor, log):
    scale = Scale(low, low * factor, log)
    ticks, levels = scale.ticks(), scale.levels(16)
    assert 2 <= len(ticks) <= 7
    assert (np.diff(ticks) > 0).all()
    slack = 0.0 if log else 1e-6 * (scale.high - scale.low)
    assert ticks[0] >= scale.low * (1 - 1e-6) - slack
    assert ticks[-1] <= scale.high * (1 + 1e-6)
    assert levels[0] <= scale.low
    assert levels[-1] >= scale.high
    assert (np.diff(levels) > 0).all()


def test_values_that_are_not_finite_do_not_count():
    scale = choose_scale(np.array([np.nan, -np.inf, 1.0, 4.0, np.inf]), log=True, name="loss")
    assert (scale.low, scale.high) == (1.0, 4.0)


def test_constant_values_get_a_range():
    for value in (0.0, -3.0, 1e-30, 7.0):
        scale = choose_scale(np.full(4, value), log=False, name="loss")
        assert scale.low < value < scale.high


def test_ratio():
    assert ratio(np.array([-1.0, 0.0])) == 1.0
    assert ratio(np.array([1.0, 1.0, 1.0, 1.0, 1e9]), 0.5) == 1.0


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([], []),
        ([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"]),
        ([2.3, 2.302, 2.304], ["2.3", "2.302", "2.304"]),
        ([2.3, 2.3025, 2.305], ["2.3", "2.3025", "2.305"]),  # not 2.302, which would look like another distance
        ([1250.0, 1275.0], ["1250", "1275"]),
        ([1e6, 1e6 + 0.25], ["1000000", "1000000.25"]),
        ([99990.0, 100000.0, 100010.0], ["99990", "100000", "100010"]),
        ([1.0001e-6, 1.0002e-6], [r"$1.0001\times10^{-6}$", r"$1.0002\times10^{-6}$"]),
        ([1e5, 2e5], ["$10^{5}$", r"$2\times10^{5}$"]),
        ([0.5, np.nan, np.inf, 0.5], ["0.5", "nan", "inf", "0.5"]),
    ],
)
def test_together(values, texts):
    assert together(values) == texts


def test_what_agrees_in_all_the_digits_asked_for_looks_alike():
    assert together([1.0, 1.0 + 1e-9], most=5) == ["1", "1"]
    assert together([1.0, 1.0 + 1e-9]) == ["1", "1.000000001"]


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e12), st.booleans())
def test_ticks_are_told_apart(low, spread, log):
    low, high = (abs(low) + 1e-9, (abs(low) + 1e-9) * (1 + spread)) if log else (low, low + spread)
    if high - low > 1e-12 * max(abs(low), abs(high)):
        texts = together(Scale(low, high, log).ticks())
        assert len(set(texts)) == len(texts)


def test_places_are_linear_in_colour():
    scale = Scale(0.01, 100.0, log=True)
    assert scale.place([0.01, 1.0, np.nan]) == pytest.approx([-2, 0, np.nan], nan_ok=True)
    assert scale.norm()(scale.place(1.0)) == pytest.approx(0.5)
    assert np.ma.getmaskarray(scale.place(np.ma.masked_invalid([1.0, np.nan]))).tolist() == [False, True]
    assert Scale(0.0, 4.0, log=False).place([1.0]).tolist() == [1.0]
