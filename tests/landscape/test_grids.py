import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrscape.landscape import grid, grid_around, line

ENDS = st.tuples(st.floats(-50, 50), st.floats(1e-3, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(n=st.integers(2, 41), ends=ENDS)
def test_off_centre_line_runs_from_end_to_end(n, ends):
    low, high = ends
    if low == -high:
        return
    made = line(n, span=ends).coordinates.ravel()
    assert (made[0], made[-1]) == ends
    np.testing.assert_allclose(np.diff(made), (high - low) / (n - 1), rtol=1e-9)


def test_symmetric_pairs_are_the_usual_grid():
    assert grid(5, span=(-0.7, 0.7)).coordinates.tobytes() == grid(5, span=0.7).coordinates.tobytes()
    with pytest.raises(ValueError, match="got 4; use 5"):
        grid(4, span=((0, 1), (-1, 1)))


@given(before=st.integers(0, 30), after=st.integers(1, 30), step=st.floats(1e-6, 1e3))
def test_a_step_that_meets_the_origin_meets_it_exactly(before, after, step):
    n = before + after + 1
    if before == after and n % 2 == 0:
        return
    made = line(n, span=(-before * step, after * step)).coordinates.ravel()
    assert made[before] == 0


def test_spans_and_numbers_per_dimension():
    made = grid((2, 4, 3), span=((0, 1), (-2, 4), (-1, 1)), dims=3)
    assert made.shape == (2, 4, 3)
    assert made.coordinates[0].tolist() == [0, -2, -1]
    assert np.unique(made.coordinates[:, 1]).tolist() == [-2, 0, 2, 4]
    assert grid(3, span=(1, 2), dims=3).coordinates.min() == 1


@given(
    corner=st.tuples(st.floats(-5, 5), st.floats(-5, 5)), n=st.integers(3, 40), margin=st.floats(0, 1)
)  # the path runs from the origin to the corner
def test_grid_around_holds_the_path_and_the_origin(corner, n, margin):
    path = np.array([(0.0, 0.0), corner])
    if np.abs(path).max() < 1e-6:
        return
    made = grid_around(path, n, margin)
    assert made.shape == (n, n)
    slack = 1e-9 * np.abs(path).max()
    assert (made.coordinates.min(axis=0) <= path.min(axis=0) + slack).all()
    assert (made.coordinates.max(axis=0) >= path.max(axis=0) - slack).all()
    if margin > 0.01:
        assert (made.coordinates == 0).all(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(3, span=(1, 0)), r"from a lower to a higher finite number, got \(1, 0\)"),
        (lambda: grid(3, span=(0, float("inf"))), "finite"),
        (lambda: grid(3, span=((0, 1), (0, 1)), dims=3), r"each of the 3 dimensions, got shape \(2, 2\)"),
        (lambda: grid((3, 3), dims=3), "n must be one number, or one for each of the 3 dimensions, got 2"),
        (lambda: line(1, span=(0, 1)), "at least 2 points, got 1"),
        (lambda: grid_around([[1.0, 2.0]] * 3), "all the same point"),
        (lambda: grid_around([[1.0, 2.0], [0.0, 0.0]], n=2), "n must be at least 3"),
        (lambda: grid_around([[1.0], [0.0]], margin=-1), "margin must be a number from 0 up, got -1"),
        (lambda: grid_around([[1.0], [np.nan]]), "finite"),
    ],
)
def test_bad_spans_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
