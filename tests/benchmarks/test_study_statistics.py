"""Paired comparisons and their correction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lrscape.benchmarks.study.statistics import holm, paired


def slow_holm(p):
    """As Holm describes it: reject from the smallest on while p_(i) ≤ level/(m − i + 1)."""
    levels = sorted({min(1.0, (len(p) - i) * value) for i, value in enumerate(sorted(p))} | {1.0})

    def rejected(level):
        count = 0
        for i, value in enumerate(sorted(p)):
            if min(1.0, (len(p) - i) * value) > level:
                break
            count += 1
        return set(np.argsort(p, kind="stable")[:count])

    return [min(level for level in levels if i in rejected(level)) for i in range(len(p))]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_smallest_level_that_rejects(p):
    np.testing.assert_allclose(holm(p), slow_holm(p), rtol=1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.9]) == pytest.approx([0.03, 0.04, 0.9])


def test_paired_against_formulas():
    ours, theirs = [1.0, 1.2, 0.9, 1.1], [1.1, 1.1, 1.0, 1.3]
    found = paired(ours, theirs)
    ratios = sorted(o / t for o, t in zip(ours, theirs, strict=True))
    assert found.ratio == pytest.approx((ratios[1] + ratios[2]) / 2)
    assert found.worst == pytest.approx(ratios[-1])
    assert found.difference == pytest.approx(-0.075)
    logs = np.log(np.array(ours) / np.array(theirs))
    t = logs.mean() / (logs.std(ddof=1) / 2)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 3))


def test_interval_against_all_resamples():
    """With three seeds all 27 resamples can be listed."""
    differences = np.array([-0.2, 0.1, 0.4])
    theirs = np.array([1.0, 1.5, 2.0])
    found = paired(list(theirs + differences), list(theirs))
    means = [np.mean([a, b, c]) for a in differences for b in differences for c in differences]
    low, high = np.percentile(means, [2.5, 97.5], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_diverged_runs_count():
    found = paired([math.inf, 1.0, 1.0], [1.0, 1.0, math.inf])
    assert found.ratio == 1.0
    assert found.worst == math.inf
    assert math.isnan(found.low)
    assert found.p == 1.0
    assert paired([math.inf], [math.inf]).ratio == 1.0


def test_equal_arms_differ_by_nothing():
    found = paired([1.0, 2.0], [1.0, 2.0])
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="got 1 and 2"):
        paired([1.0], [1.0, 2.0])
