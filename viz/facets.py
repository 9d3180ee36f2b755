"""Colour and light of the facets of a surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LightSource
from numpy.typing import NDArray

WIDE = 1.5  # sides of the ground, where the heights reach from 0 to 1
DARKEST = 0.6


def facet_colors(
    unit: NDArray[np.float64], axes: Sequence[NDArray[np.float64]], colors: Any, counts: tuple[int, int]
) -> NDArray[np.float64]:
    """Colour each facet by the height of its middle and its slope towards a light beside the eye.

    Args:
        unit: Heights, 0 for the lowest colour and 1 for the highest, NaN in a hole; shape (n, m).
        axes: Coordinates along both dimensions.
        colors: A colour map.
        counts: How many points along each dimension the surface is drawn through, at most: the ``rcount`` and
            ``ccount`` of ``Axes3D.plot_surface``.

    Returns:
        Red, green and blue of the facet that begins at each point and reaches to the next, shape (n - 1, m - 1, 3).

    Example:
        >>> from matplotlib import colormaps
        >>> flat = facet_colors(np.zeros((3, 2)), ([0, 1, 2], [0, 1]), colormaps["gray"], (3, 2))
        >>> flat.shape, float(flat.max())
        ((2, 1, 3), 0.0)
    """
    rows, columns = (_drawn(length, count) for length, count in zip(unit.shape, counts, strict=True))
    kept = unit[np.ix_(rows, columns)]
    corners = np.stack([kept[:-1, :-1], kept[1:, :-1], kept[1:, 1:], kept[:-1, 1:]])  # around the facet
    known = np.isfinite(corners)
    middle = np.where(known, corners, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    # Of a facet with one hole at a corner the triangle is drawn, whose plane goes on to that corner.
    plane = np.roll(corners, 1, axis=0) + np.roll(corners, -1, axis=0) - np.roll(corners, 2, axis=0)
    a, b, c, d = np.where(known, corners, plane)
    long, wide = (
        WIDE * np.diff(np.asarray(axis)[at]) / (axis[-1] - axis[0])
        for axis, at in zip(axes, (rows, columns), strict=True)
    )
    uphill, across = (b - a + c - d) / (2 * long[:, None]), (d - a + c - b) / (2 * wide)
    shade = _shade(uphill, across)
    colored = np.asarray(colors(middle))[..., :3] * (DARKEST + (1 - DARKEST) * shade[..., None])
    whole = np.zeros((unit.shape[0] - 1, unit.shape[1] - 1, 3))
    whole[np.ix_(rows[:-1], columns[:-1])] = colored
    return whole


def _drawn(length: int, count: int) -> NDArray[np.intp]:
    """Choose the points that a surface is drawn through as matplotlib does."""
    return np.append(np.arange(0, length - 1, max(-(-length // count), 1)), length - 1)


def _shade(uphill: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell how much light falls on slopes, from 0 on the darkest to 1 on the brightest."""
    east, north, above = LightSource(azdeg=135, altdeg=50).direction
    light = (above - east * uphill - north * across) / np.sqrt(1 + uphill**2 + across**2)
    light = np.where(np.isfinite(light), light, above)
    spread = float(np.ptp(light))
    return np.asarray(np.clip((light - light.min()) / spread if spread > 1e-6 else light, 0.0, 1.0))
