"""Cubic interpolation between the points of a grid, and how much it may err."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _halve(values: Array) -> Array:
    """Put a new value between all neighbours along the first axis."""
    middle = np.empty((len(values) - 1, *values.shape[1:]))
    with np.errstate(invalid="ignore", over="ignore"):
        middle[1:-1] = (9 * (values[1:-2] + values[2:-1]) - values[:-3] - values[3:]) / 16
        # At the ends the cubic through the four nearest.
        middle[0] = (5 * values[0] + 15 * values[1] - 5 * values[2] + values[3]) / 16
        middle[-1] = (5 * values[-1] + 15 * values[-2] - 5 * values[-3] + values[-4]) / 16
        # One value that is not finite must not spread over four: next to it the two neighbours have to do.
        middle = np.where(np.isfinite(middle), middle, values[:-1] / 2 + values[1:] / 2)
    result = np.empty((2 * len(values) - 1, *values.shape[1:]))
    result[::2], result[1::2] = values, middle
    return result


def subdivide(values: Array) -> Array:
    """Interpolate a 2-D grid onto one of half the step.

    f(½) = (−f(−1) + 9·f(0) + 9·f(1) − f(2))/16 along each axis (Deslauriers & Dubuc 1989, "Symmetric iterative
    interpolation processes", Constructive Approximation 5), and the cubic through the four nearest points at the
    border. Exact for polynomials of degree 3 in each coordinate.

    Args:
        values: Shape (n, p, …), n and p at least 4.

    Returns:
        Shape (2n − 1, 2p − 1, …); every other value is the given one. Between two values that are not finite stands
        one that is not finite.

    Example:
        >>> x = np.arange(4.0)
        >>> subdivide(x[:, None] ** 3 + x)[1, ::2].tolist()
        [0.125, 1.125, 2.125, 3.125]
    """
    return np.swapaxes(_halve(np.swapaxes(_halve(values), 0, 1)), 0, 1)


def _beside(values: Array) -> Array:
    """Take for each interval along the first axis the largest |fourth difference| of the windows that hold it."""
    with np.errstate(invalid="ignore", over="ignore"):
        fourth = np.abs(np.diff(values, 4, axis=0))
    # A window with a value that is not finite says nothing; such places are found by themselves.
    fourth = np.where(np.isfinite(fourth), fourth, 0.0)
    padded = np.pad(fourth, ((3, 3), (0, 0)))
    return np.asarray(sliding_window_view(padded, 4, axis=0).max(axis=-1))


def bending(values: Array) -> Array:
    """Measure how much the surface bends in each cell, in units of its values.

    The largest |δ⁴f| of the windows that hold one of the cell's sides, summed over both axes. The error of
    :func:`subdivide` is 3/128 of it where f is smooth, and up to a quarter of it where f has a kink.

    Args:
        values: Shape (n, p), n and p at least 5.

    Returns:
        Shape (n − 1, p − 1); ∞ for a cell with corners that are finite and others that are not, and for those beside
        it; 0 for one with no finite corner.

    Example:
        >>> float(bending(np.arange(6.0)[:, None] ** 4 + np.zeros(6)).max())
        24.0
    """
    first, second = _beside(values), _beside(values.T).T
    total: Array = np.maximum(first[:, 1:], first[:, :-1]) + np.maximum(second[1:], second[:-1])
    corners = sliding_window_view(np.isfinite(values), (2, 2))
    some, every = corners.any(axis=(-2, -1)), corners.all(axis=(-2, -1))
    border = sliding_window_view(np.pad(some & ~every, 1), (3, 3)).any(axis=(-2, -1))
    return np.where(some, np.where(border, np.inf, total), 0.0)


def points_of_cells(cells: Mask, fine: int) -> Mask:
    """Mark the points that halving some cells needs, their corners included.

    Args:
        cells: Shape (n − 1, n − 1).
        fine: Points along each side of the finest grid.

    Returns:
        Shape (fine, fine).
    """
    marked = np.zeros((fine, fine), dtype=bool)
    half = (fine - 1) // (2 * len(cells))
    for down in range(3):
        for right in range(3):
            stop = fine - (2 - down) * half, fine - (2 - right) * half
            marked[down * half : stop[0] : 2 * half, right * half : stop[1] : 2 * half] |= cells
    return marked
