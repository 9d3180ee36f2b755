"""Simplification as a property: what goes, what stays, how much changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrscape.tda import merge_tree, persistence, simplify


@settings(max_examples=200)
@given(st.integers(0, 100_000), st.sampled_from(["vertices", "top"]), st.floats(0, 4))
def test_short_pairs_go_and_the_others_stay(seed, cells, threshold):
    random = np.random.default_rng(seed)
    field = random.standard_normal(random.integers(1, 9, size=random.integers(1, 4)))
    if seed % 3 == 0:
        field = np.round(field)
    if seed % 2:
        field[random.random(field.shape) < 0.3] = random.choice([np.nan, np.inf])
    simpler = simplify(field, threshold, cells)
    before, after = persistence(field, cells)[0], persistence(simpler, cells)[0]
    np.testing.assert_array_equal(after, before[before[:, 1] - before[:, 0] >= threshold])
    np.testing.assert_array_equal(np.isfinite(simpler), np.isfinite(field))
    raised = simpler[np.isfinite(field)] - field[np.isfinite(field)]
    assert (raised >= 0).all()
    assert raised.max(initial=0.0) <= threshold + 1e-15
    np.testing.assert_array_equal(simplify(simpler, threshold, cells), simpler)


def test_nested_basins_fill_to_the_last_pass():
    # 3.5 ends at 4, 3 at 5, 2 at 9: depths .5, 2 and 7.
    field = [0.0, 9.0, 2.0, 5.0, 3.0, 4.0, 3.5, 6.0]
    assert simplify(field, 1.0).tolist() == [0.0, 9.0, 2.0, 5.0, 3.0, 4.0, 4.0, 6.0]
    assert simplify(field, 3.0).tolist() == [0.0, 9.0, 2.0, 5.0, 5.0, 5.0, 5.0, 6.0]
    assert simplify(field, 7.0).tolist() == simplify(field, 3.0).tolist()
    assert simplify(field, 7.1).tolist() == [0.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]


def test_zero_changes_nothing_and_infinity_leaves_one_minimum():
    field = np.random.default_rng(0).standard_normal((20, 20))
    np.testing.assert_array_equal(simplify(field, 0.0), field)
    assert len(merge_tree(simplify(field, np.inf))) == 1


def test_masked_cells_keep_their_values():
    field = np.array([0.0, 3.0, 1.0, -7.0])
    mask = np.array([False, False, False, True])
    assert simplify(field, 2.5, mask=mask).tolist() == [0.0, 3.0, 3.0, -7.0]


@pytest.mark.parametrize("threshold", [-1.0, float("nan")])
def test_threshold_must_be_a_depth(threshold):
    with pytest.raises(ValueError, match="threshold must be"):
        simplify([1.0, 2.0], threshold)
