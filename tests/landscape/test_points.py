import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.landscape import grid, line, points, sparse_stencil


@given(half=st.integers(1, 30), span=st.floats(1e-3, 1e3), dims=st.integers(1, 3))
def test_grid_is_symmetric_with_an_exact_centre_and_ends(half, span, dims):
    n = 2 * half + 1 if dims < 3 else 5
    made = grid(n, span, dims)
    assert made.coordinates.dtype == np.float64
    assert made.shape == (n,) * dims
    assert (made.coordinates[len(made) // 2] == 0).all()
    assert (made.coordinates == -made.coordinates[::-1]).all()
    assert made.coordinates[-1].tolist() == [span] * dims
    axis = np.unique(made.coordinates[:, 0])
    np.testing.assert_allclose(axis, np.linspace(-span, span, n), atol=1e-12 * span)


def test_first_coordinate_is_the_row():
    made = grid(3, 1.0)
    assert made.coordinates[:, 0].tolist() == [-1] * 3 + [0] * 3 + [1] * 3


def test_line_is_a_grid_of_one_dimension():
    assert line(5, 2.0).shape == (5,)
    assert line(5, 2.0).span == 2.0


def test_stencil_is_the_published_one(reference):
    made = sparse_stencil()
    h = reference.numbers["sparse"]["step"]
    expected = [(0, 0), (h, 0), (-h, 0), (0, h), (0, -h), (h, h), (-h, h), (h, -h), (-h, -h)]
    np.testing.assert_allclose(made.coordinates[:9], expected, rtol=1e-15)
    assert len(made) == 25
    assert np.abs(made.coordinates[9:]).max() <= 0.12
    assert np.abs(made.coordinates[9:]).min() > 0
    assert not np.array_equal(made.coordinates[9:], sparse_stencil(seed=1).coordinates[9:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(4), "n must be odd .* got 4; use 5"),
        (lambda: grid(1), "got 1; use 3"),
        (lambda: grid(3, span=0), "span must be a positive number, got 0"),
        (lambda: grid(3, dims=0), "dims must be at least 1"),
        (lambda: line(3, span=float("nan")), "span must be a positive number"),
        (lambda: sparse_stencil(samples=-1), "samples must not be negative"),
        (lambda: sparse_stencil(reference_grid=1), "reference_grid must be at least 2"),
        (lambda: points([]), "at least one point"),
        (lambda: points([[float("inf")]]), "finite"),
        (lambda: points(np.zeros((2, 2, 2))), r"\(2, 2, 2\)"),
    ],
)
def test_bad_numbers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
