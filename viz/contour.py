"""A 2-D landscape seen from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from .field import Field, read_field
from .keys import color_bar, legend_below, missing_key, missing_style
from .scale import Scale, choose_scale, readable
from .style import LIGHT, Theme, canvas, few_ticks


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
    mark_minimum: bool = True,
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
        log: Space the levels by equal ratios. Shows the bottom of a valley with steep walls.
        limits: Lowest and highest value of the colours, so that several panels can share them; what lies outside
            takes the colour of the end. The range of the values by default.
        colorbar: Draw a colour bar.
        path: Coordinates of an optimisation path, shape (T, 2), drawn over the landscape.
        mark_minimum: Mark the point of the grid with the lowest loss.
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
    theme = LIGHT
    field = read_field(surface, dims=2, caller="viz.contour", axes=axes, metric=metric, label=label)
    if min(field.values.shape) < 2:
        raise ValueError(f"a contour needs at least 2 points along each direction, got a grid of {field.values.shape}")
    scale = choose_scale(field.values, log=log, name=field.name, limits=limits)
    borders = _borders(levels, scale)
    track = None if path is None else _track(path)
    with canvas(ax, theme, size=(4.2, 3.7), projection=None) as ax:
        handles: list[Artist] = []
        _fill(ax, field, scale, borders, theme, colorbar, {"cmap": cmap or theme.cmap, **kwargs})
        if track is not None:
            handles.append(_draw_track(ax, track, theme))
        if mark_center and field.center is not None:
            handles.append(_mark(ax, field, field.center, "center", theme))
        if mark_minimum and field.lowest is not None:
            handles.append(_mark(ax, field, field.lowest, "lowest", theme))
        if field.missing:
            handles.append(missing_key(field.missing, theme))
        ends = [_ends(axis, None if track is None else track[:, i]) for i, axis in enumerate(field.axes)]
        ax.set(xlim=ends[0], ylim=ends[1])
        ax.set(xlabel=field.labels[0], ylabel=field.labels[1], aspect="equal")
        few_ticks(ax)
        if title is not None:
            ax.set_title(title)
        legend_below(ax, handles, theme)
        return ax


def _borders(levels: int | Sequence[float], scale: Scale) -> NDArray[np.float64]:
    if isinstance(levels, int):
        if levels < 2:
            raise ValueError(f"levels must be at least 2 bands, got {levels}")
        return scale.levels(levels)
    borders = np.asarray(levels, dtype=np.float64)
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise ValueError(f"levels must be a number of bands or at least two ascending values, got {levels!r}")
    if scale.log and borders[0] <= 0:
        raise ValueError(f"levels must be above 0 with log=True, got {borders[0]:g}")
    return borders


def _track(path: ArrayLike) -> NDArray[np.float64]:
    track = np.asarray(path, dtype=np.float64)
    if track.ndim != 2 or track.shape[1] != 2 or len(track) == 0:
        raise ValueError(f"path must hold coordinates in the plane, of shape (T, 2) with T ≥ 1, got {track.shape}")
    if not np.isfinite(track).all():
        raise ValueError("path must be finite, got NaN or infinity; leave out the steps after the divergence")
    return track


def _ends(axis: NDArray[np.float64], track: NDArray[np.float64] | None) -> tuple[float, float]:
    """Show the grid to its edge, and what a path has beyond it with some air."""
    low, high = float(axis[0]), float(axis[-1])
    if track is None:
        return low, high
    air = 0.04 * (high - low)
    first, last = float(track.min()), float(track.max())
    return (low if first >= low else first - air), (high if last <= high else last + air)


def _fill(
    ax: Axes,
    field: Field,
    scale: Scale,
    borders: NDArray[np.float64],
    theme: Theme,
    colorbar: bool,
    kwargs: dict[str, Any],
) -> None:
    u, v = field.axes
    values = np.ma.masked_invalid(field.values.T)
    if field.missing:
        ax.add_patch(Rectangle((u[0], v[0]), u[-1] - u[0], v[-1] - v[0], zorder=0, **missing_style(theme)))
    below, above = values.min() < borders[0], values.max() > borders[-1]
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    shown = Scale(float(borders[0]), float(borders[-1]), scale.log)
    filled = ax.contourf(u, v, values, **{"levels": borders, "norm": shown.norm(), "extend": extend, **kwargs})
    inside = borders[(borders > values.min()) & (borders < values.max())]
    if len(inside):
        lines = ax.contour(u, v, values, levels=inside, colors=theme.ink, linewidths=0.5 * theme.hair, alpha=0.6)
        if not colorbar:
            for text in ax.clabel(lines, fontsize=theme.small - 1, fmt=readable):
                text.set(alpha=1.0, path_effects=[patheffects.withStroke(linewidth=1.5, foreground=theme.paper)])
    if colorbar:
        color_bar(filled, ax, theme, shown, field.name)


def _mark(ax: Axes, field: Field, index: tuple[int, ...], kind: str, theme: Theme) -> Artist:
    x, y = field.at(index)
    if kind == "center":
        value, name, size, zorder = field.values[index], f"centre: {field.name}", 5.0, 5
        look: dict[str, Any] = {"marker": "o", "color": theme.paper, "markeredgecolor": theme.ink}
    else:
        value, name, size, zorder = (
            field.ranking[index],
            f"lowest {field.ranking_name}",
            14.0 if index == field.center else 9.0,
            4,
        )
        look = {"marker": "*", "color": theme.accent, "markeredgecolor": theme.paper}
    number = readable(float(value)) if np.isfinite(value) else "not finite"
    (mark,) = ax.plot(
        [x],
        [y],
        linestyle="none",
        markersize=size,
        markeredgewidth=theme.hair,
        label=f"{name} {number}",
        zorder=zorder,
        clip_on=False,
        **look,
    )
    return mark


def _draw_track(ax: Axes, track: NDArray[np.float64], theme: Theme) -> Artist:
    casing = [patheffects.Stroke(linewidth=theme.line + 1.4, foreground=theme.ink), patheffects.Normal()]
    (line,) = ax.plot(
        *track.T, color=theme.paper, linewidth=theme.line, path_effects=casing, label="path (from the square)", zorder=3
    )
    ax.plot(*track[0], marker="s", markersize=4, color=theme.paper, markeredgecolor=theme.ink, zorder=3)
    return line
