"""Scales, levels and the numbers that are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.viz.scale import Scale, choose_scale, ratio, readable


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
