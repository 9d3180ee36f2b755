"""Heights along a path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from lrscape.viz.field import Field
from lrscape.viz.track import height_at

U, V = np.array([-1.0, -0.25, 0.5, 2.0]), np.array([0.0, 1.0, 3.0])


def plane(values):
    return Field((U, V), values, "value", ("u", "v"), values, "value")


def slowly(values, x, y):
    """Interpolate in each cell that holds the point."""
    for i in range(len(U) - 1):
        for j in range(len(V) - 1):
            if U[i] <= x <= U[i + 1] and V[j] <= y <= V[j + 1]:
                a, b = (x - U[i]) / (U[i + 1] - U[i]), (y - V[j]) / (V[j + 1] - V[j])
                low = values[i, j] * (1 - b) + values[i, j + 1] * b
                return low * (1 - a) + (values[i + 1, j] * (1 - b) + values[i + 1, j + 1] * b) * a
    return np.nan


@given(st.integers(0, 2**32 - 1), st.floats(-1.5, 2.5), st.floats(-0.5, 3.5))
def test_agrees_with_a_slow_reference_and_scipy(seed, x, y):
    values = np.random.default_rng(seed).normal(size=(4, 3))
    found = height_at(plane(values), np.array([[x, y]]))
    assert found == pytest.approx([slowly(values, x, y)], nan_ok=True)
    scipys = RegularGridInterpolator((U, V), values, bounds_error=False)([[x, y]])
    assert found == pytest.approx(scipys, nan_ok=True)


def test_planes_are_exact_and_points_of_the_grid_too():
    values = 2 * U[:, None] - 3 * V + 1
    places = np.array([[0.1, 0.7], [2.0, 3.0], [-1.0, 0.0], [0.5, 1.0]])
    assert height_at(plane(values), places) == pytest.approx(2 * places[:, 0] - 3 * places[:, 1] + 1)


def test_what_is_not_known_is_nan():
    values = np.zeros((4, 3))
    values[0, 0] = np.inf
    assert np.isnan(height_at(plane(values), np.array([[-0.9, 0.1], [3.0, 1.0]]))).all()
