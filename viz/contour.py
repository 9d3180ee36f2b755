"""A 2-D landscape seen from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from .field import Field, read_field
from .filled import choose_borders, fill
from .keys import color_bar, legend_below, missing_key
from .scale import choose_scale, readable, together
from .style import Theme, canvas, current, few_ticks
from .titles import entitle
from .track import draw_track, read_track

NEEDLE = 4.0  # times as long as wide: what an array's coordinates mean is not known, and they may be stretched


def contour(
    surface: LossSurface | ArrayLike,
    ax: Axes | None = None,
    *,
    axes: Sequence[ArrayLike] | None = None,
    metric: str | None = None,
    levels: int | Sequence[float] = 16,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    colorbar: bool = True,
    path: ArrayLike | None = None,
    mark_minimum: bool | None = None,
    mark_center: bool = True,
    cmap: Any = None,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw a 2-D landscape as a filled contour plot with thin isolines.

    The first direction runs to the right. Without a colour bar the isolines carry their values. Where a value is not
    finite the plane is hatched in grey and the legend says so.

    Args:
        surface: A surface on a 2-D grid, or an array of shape (n, m) with its ``axes``.
        ax: Where to draw; a new figure by default.
        axes: For an array, the coordinates along both dimensions: n and m ascending numbers.
        metric: Name of a metric of the surface to draw instead of the loss.
        levels: About how many bands, or their borders.
        log: Space the levels by equal ratios. Shows the bottom of a valley with steep walls. The logarithms (base 10)
            are what is drawn and interpolated: they are the levels of the collections on the Axes.
        limits: Lowest and highest value of the colours, so that several panels can share them; what lies outside
            takes the colour of the end. The range of the values by default.
        colorbar: Draw a colour bar.
        path: Coordinates of an optimisation path, shape (T, 2), drawn over the landscape with a dot at each point.
        mark_minimum: Mark the point of the grid with the lowest loss; by default where the loss is drawn.
        mark_center: Mark the origin, where the model stands.
        cmap: A colour map, or its name.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.contourf`.

    Returns:
        The Axes.

    Raises:
        ValueError: If the data is no 2-D grid or has no finite value, or an argument does not fit it.

    Example:
        >>> u = np.linspace(-1, 1, 21)
        >>> ax = contour(u[:, None] ** 2 + 3 * u**2, axes=(u, u), label="loss")
        >>> ax.get_xlabel()
        'coordinate 1'
    """
    theme = current()
    field = read_field(surface, dims=2, caller="viz.contour", axes=axes, metric=metric, label=label)
    if min(field.values.shape) < 2:
        raise ValueError(f"a contour needs at least 2 points along each direction, got a grid of {field.values.shape}")
    scale = choose_scale(field.values, log=log, name=field.name, limits=limits)
    borders = choose_borders(levels, scale)
    track = None if path is None else read_track(path)
    if mark_minimum is None:  # the lowest loss is no extreme of an accuracy
        mark_minimum = metric is None
    explained = field.missing or track is not None or (mark_center and field.center) or (mark_minimum and field.lowest)
    with canvas(ax, theme, size=(4.2, 3.7 if explained else 3.25), whole=True) as ax:
        handles: list[Artist] = []
        look = {"cmap": cmap or theme.cmap, **kwargs}
        filled, shown = fill(ax, field, borders, theme, log=log, numbers=not colorbar, **look)
        if colorbar:
            color_bar(filled, ax, theme, shown, field.name)
        if track is not None:
            handles.append(draw_track(ax, track, theme))
        kinds = ["center"] * (mark_center and field.center is not None)
        kinds += ["lowest"] * (mark_minimum and field.lowest is not None)
        handles += _marks(ax, field, kinds, theme)
        if field.missing:
            handles.append(missing_key(field.missing, theme))
        frame(ax, field, track)
        entitle(ax, title, theme)
        legend_below(ax, handles, theme)
        return ax


def frame(ax: Axes, field: Field, track: NDArray[np.float64] | None = None) -> None:
    """Set limits, labels and aspect of a plane: equal, but for arrays whose coordinates are of unlike size.

    Args:
        ax: With the plane.
        field: What it shows.
        track: A path that should stay in sight, shape (T, 2).
    """
    ends = [_ends(axis, None if track is None else track[:, i]) for i, axis in enumerate(field.axes)]
    (left, right), (low, high) = ends
    needle = max((right - left) / (high - low), (high - low) / (right - left)) > NEEDLE
    ax.set(xlim=ends[0], ylim=ends[1], xlabel=field.labels[0], ylabel=field.labels[1])
    ax.set_aspect("auto" if field.bare and needle else "equal")
    few_ticks(ax)


def _ends(axis: NDArray[np.float64], track: NDArray[np.float64] | None) -> tuple[float, float]:
    """Show the grid to its edge, and what a path has beyond it with some air."""
    low, high = float(axis[0]), float(axis[-1])
    if track is None:
        return low, high
    air = 0.04 * (high - low)
    first, last = float(track.min()), float(track.max())
    return (low if first >= low else first - air), (high if last <= high else last + air)


def _marks(ax: Axes, field: Field, kinds: Sequence[str], theme: Theme) -> list[Artist]:
    """Mark the centre and the lowest point; where both show the same quantity, with digits that tell them apart."""
    places = {"center": field.center, "lowest": field.lowest}
    found = [(kind, at) for kind in kinds if (at := places[kind]) is not None]
    values = [float((field.values if kind == "center" else field.ranking)[at]) for kind, at in found]
    one = field.ranking is field.values or np.array_equal(field.ranking, field.values, equal_nan=True)
    numbers = together(values, most=12) if one else [readable(value) for value in values]
    handles: list[Artist] = []
    for (kind, at), value, number in zip(found, values, numbers, strict=True):
        if kind == "center":
            name, size, zorder = f"centre: {field.name}", 5.0, 5
            look: dict[str, Any] = {"marker": "o", "color": theme.mark, "markeredgecolor": theme.outline}
        else:
            name, size, zorder = f"lowest {field.ranking_name}", 14.0 if at == field.center else 9.0, 4
            look = {"marker": "*", "color": theme.accent, "markeredgecolor": theme.mark}
        x, y = field.at(at)
        text = f"{name} {number if np.isfinite(value) else 'not finite'}"
        look |= {"markersize": size, "markeredgewidth": theme.hair, "zorder": zorder, "clip_on": False}
        handles += ax.plot([x], [y], linestyle="none", label=text, **look)
    return handles
