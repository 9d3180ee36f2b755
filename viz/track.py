"""The path of an optimisation over a landscape."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from .field import Field
from .style import Theme

DOTS = 60  # more points than this get a dot at every second, third, … only


def read_track(path: ArrayLike, name: str = "path") -> NDArray[np.float64]:
    """Check the coordinates of a path.

    Args:
        path: Shape (T, 2).
        name: Of the argument, for messages.

    Returns:
        The coordinates.

    Raises:
        ValueError: If the shape is another, or a coordinate is not finite.

    Example:
        >>> read_track([(1, 0), (0, 0)]).shape
        (2, 2)
    """
    track = np.asarray(path, dtype=np.float64)
    if track.ndim != 2 or track.shape[1] != 2 or len(track) == 0:
        raise ValueError(f"{name} must hold coordinates in the plane, of shape (T, 2) with T ≥ 1, got {track.shape}")
    if not np.isfinite(track).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity; leave out the steps after the divergence")
    return track


def draw_track(ax: Axes, track: NDArray[np.float64], theme: Theme, *heights: float, zorder: float = 3) -> Artist:
    """Draw a path from a square, with dots at the points between.

    Args:
        ax: Where to draw.
        track: Shape (T, 2).
        theme: Colours and sizes.
        *heights: On 3-D Axes, the height of the plane that the path lies in.
        zorder: Of what is drawn.

    Returns:
        The line, whose label says how to read it.
    """
    columns = [*track.T, *[np.full(len(track), height) for height in heights]]
    stride = -(-len(track) // DOTS)
    dots = {1: "", 2: "; a dot every 2nd", 3: "; a dot every 3rd"}.get(stride, f"; a dot every {stride}th")
    casing = [patheffects.Stroke(linewidth=1.3 * theme.line + 1.4, foreground=theme.outline), patheffects.Normal()]
    look: dict[str, Any] = {"linestyle": "none", "zorder": zorder}
    (line,) = ax.plot(
        *columns, color=theme.mark, linewidth=1.3 * theme.line, path_effects=casing, zorder=zorder,
        label=f"path (from the square{dots})",
    )  # fmt: skip
    between = slice(stride, -1, stride)
    if len(track[between]):
        dot: dict[str, Any] = {"color": theme.outline, "markeredgewidth": 0, "markersize": 2.2}
        ax.plot(*[column[between] for column in columns], marker="o", **dot, **look)
    edge: dict[str, Any] = {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
    ax.plot(*[column[:1] for column in columns], marker="s", markersize=4, color=theme.mark, **edge, **look)
    return line


def height_at(field: Field, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate the values of a plane linearly within each cell of its grid.

    Args:
        field: Values on a 2-D grid.
        places: Coordinates, shape (T, 2).

    Returns:
        The values, shape (T,); NaN outside of the grid, and beside a value that is not finite.

    Example:
        >>> u = np.array([0.0, 1.0])
        >>> plane = Field((u, u), np.array([[0.0, 1.0], [2.0, 3.0]]), "value", ("u", "v"), np.zeros((2, 2)), "value")
        >>> height_at(plane, np.array([[0.5, 0.5], [1.0, 0.25], [2.0, 0.0]])).tolist()
        [1.5, 2.25, nan]
    """
    cells, parts = [], []
    inside = np.ones(len(places), dtype=bool)
    for axis, coordinate in zip(field.axes, places.T, strict=True):
        inside &= (coordinate >= axis[0]) & (coordinate <= axis[-1])
        cell = np.clip(np.searchsorted(axis, coordinate, side="right") - 1, 0, len(axis) - 2)
        cells.append(cell)
        parts.append((coordinate - axis[cell]) / (axis[cell + 1] - axis[cell]))
    (i, j), (a, b) = cells, parts
    values = np.where(np.isfinite(field.values), field.values, np.nan)
    below = (1 - b) * values[i, j] + b * values[i, j + 1]
    above = (1 - b) * values[i + 1, j] + b * values[i + 1, j + 1]
    return np.where(inside, (1 - a) * below + a * above, np.nan)
