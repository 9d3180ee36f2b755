"""How ValleyLR slows down, against what its docstring says of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.schedulers.valley_pace import SPARSE, newest_weight, probe_period, steps_left


@given(st.integers(1, 50), st.integers(0, 100_000))
def test_probes_stay_as_they_are_during_the_ascent(interval, steps):
    assert probe_period(interval, steps, climbing=True) == interval


@pytest.mark.parametrize("interval", [1, 3, 50])
def test_at_most_so_many_probes_per_doubling_of_the_steps(interval):
    probes = [s for s in range(1, 2**13 * interval) if s % probe_period(interval, s, climbing=False) == 0]
    for doubling in range(3, 13):
        first = 2**doubling * interval
        assert 1 <= sum(first <= step < 2 * first for step in probes) <= SPARSE


@given(st.floats(0.01, 0.9), st.floats(0.01, 1.0), st.integers(0, 10_000))
def test_the_window_grows_by_alpha_a_step(weight, alpha, since):
    grown = 1 / newest_weight(weight, alpha, since + 1) - 1 / newest_weight(weight, alpha, since)
    assert math.isclose(grown, alpha, rel_tol=1e-6)
    assert math.isclose(newest_weight(weight, alpha, 0), weight)


@given(st.integers(1, 500), st.floats(0.01, 1.0))
def test_the_decay_takes_its_share_and_ends_at_zero(total, share):
    left = [steps_left(total, taken, share) for taken in range(total + 3)]
    decay = [steps for steps in left if steps is not None]
    assert decay == sorted(decay, reverse=True)
    assert left[total:] == [0, 0, 0]
    assert sum(steps is not None and steps > 0 for steps in left) == sum(n < share * total for n in range(1, total + 1))
    assert steps_left(None, total, share) is None
