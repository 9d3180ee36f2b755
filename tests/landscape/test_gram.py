"""Angles between vectors, from their inner products."""

import numpy as np
import pytest

from lrscape.landscape.gram import cosines_of


def test_cosines_are_those_of_numpy():
    vectors = np.random.default_rng(0).standard_normal((3, 7))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(cosines_of(vectors @ vectors.T), unit @ unit.T)


@pytest.mark.parametrize("length", [np.inf, np.nan])
def test_a_length_that_is_not_finite_has_no_angle_and_raises_no_warning(length):
    found = cosines_of(np.array([[length, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    assert np.isnan(found[0, 0])
    assert found[1, 1] == 1
    assert not found[2].any() or np.isnan(found[2, 0])
