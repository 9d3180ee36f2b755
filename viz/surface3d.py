"""A 2-D landscape as a lit surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from .facets import facet_colors
from .field import Field, read_field
from .height_axis import place_heights
from .keys import hole_text
from .scale import Scale, choose_scale, together
from .style import Theme, canvas, current
from .titles import entitle
from .track import draw_track, read_track

FINE = 61  # points a side from which on there is no mesh, which would darken the whole surface


def surface3d(
    surface: LossSurface | ArrayLike,
    ax: Axes | None = None,
    *,
    axes: Sequence[ArrayLike] | None = None,
    metric: str | None = None,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    floor: bool = True,
    path: ArrayLike | None = None,
    mark_center: bool = True,
    elevation: float = 35.0,
    azimuth: float = -55.0,
    cmap: Any = None,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw a 2-D landscape as a lit surface over its own contour plot.

    Height and colour both show the value; with ``log`` both show its logarithm, and the ticks the value. Where a value
    is not finite the surface has a hole, and a note counts them. The dot on the floor marks the origin, and a thin
    line rises from it to the surface.

    Args:
        surface: A surface on a 2-D grid, or an array of shape (n, m) with its ``axes``.
        ax: Where to draw, made with ``projection="3d"``; a new figure by default.
        axes: For an array, the coordinates along both dimensions: n and m ascending numbers.
        metric: Name of a metric of the surface to draw instead of the loss.
        log: Logarithmic height and colour.
        limits: Lowest and highest value of heights and colours, so that several panels can share them; what lies
            outside is cut to them. The range of the values by default.
        floor: Draw the contour plot under the surface.
        path: Coordinates of an optimisation path, shape (T, 2), drawn on the floor.
        mark_center: Mark the origin, where the model stands.
        elevation: Height of the eye, degrees.
        azimuth: Direction of the eye around the vertical, degrees.
        cmap: A colour map, or its name.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For ``Axes3D.plot_surface``.

    Returns:
        The Axes, an ``Axes3D``.

    Raises:
        ValueError: If the data is no 2-D grid or has no finite value, or an argument does not fit it.

    Example:
        >>> u = np.linspace(-1, 1, 21)
        >>> surface3d(u[:, None] ** 2 + 3 * u**2, axes=(u, u), label="loss").get_zlabel()
        'loss'
    """
    theme = current()
    field = read_field(surface, dims=2, caller="viz.surface3d", axes=axes, metric=metric, label=label)
    if min(field.values.shape) < 2:
        raise ValueError(f"a surface needs at least 2 points along each direction, got a grid of {field.values.shape}")
    scale = choose_scale(field.values, log=log, name=field.name, limits=limits)
    track = None if path is None else read_track(path)
    with canvas(ax, theme, size=(4.6, 3.9), projection="3d", whole=True) as made:
        # The stubs know no 3-D Axes, and its own order of artists hides marks behind the surface.
        space: Any = made
        space.computed_zorder = False
        colors = mpl.colormaps.get_cmap(cmap or theme.cmap)
        bottom, top = _height(np.array([scale.low, scale.high]), scale)
        ground = bottom - (0.35 * (top - bottom) if floor else 0.0)
        height = _height(field.values, scale)
        x, y = np.meshgrid(*field.axes, indexing="ij")
        counts = (int(kwargs.get("rcount") or x.shape[0]), int(kwargs.get("ccount") or x.shape[1]))
        space.plot_surface(
            x,
            y,
            height,
            **{
                "facecolors": facet_colors((height - bottom) / (top - bottom), field.axes, colors, counts),
                "rcount": counts[0],
                "ccount": counts[1],
                "linewidth": 0.15 if max(x.shape) <= FINE else 0.0,
                "edgecolor": (0, 0, 0, 0.3),
                "antialiased": max(x.shape) <= FINE,  # smoothed facets without edges show seams
                "shade": False,
                "zorder": 2,
                **kwargs,
            },
        )
        if floor:
            levels = np.linspace(bottom, top, 15)
            space.contourf(
                x, y, np.ma.masked_invalid(height), levels, cmap=colors, zdir="z", offset=ground, zorder=0, alpha=0.8
            )
        if track is not None:
            draw_track(made, track, theme, ground, zorder=1)
        if mark_center and field.center is not None:
            _draw_center(space, field, height, ground, theme)
        space.set_zlim(ground, top)
        _furnish(space, field, scale, theme, (elevation, azimuth))
        entitle(made, title, theme, y=0.93)  # the box leaves room above the surface
    return made


def _height(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(values), np.clip(values, scale.low, scale.high), np.nan)
    return scale.place(finite)


def _draw_center(space: Any, field: Field, height: NDArray[np.float64], ground: float, theme: Theme) -> None:
    assert field.center is not None
    x, y = field.at(field.center)
    z = height[field.center]
    dot = {"marker": "o", "color": theme.mark, "markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
    if np.isfinite(z):
        space.plot([x, x], [y, y], [ground, z], color=theme.ink, linewidth=theme.hair, zorder=1)
    space.plot([x], [y], [ground], markersize=4, zorder=1, **dot)


def _furnish(space: Any, field: Field, scale: Scale, theme: Theme, view: tuple[float, float]) -> None:
    ticks = scale.ticks(6)
    space.set_zticks(_height(ticks, scale), labels=together(ticks))
    for axis, label in zip((space.xaxis, space.yaxis, space.zaxis), (*field.labels, field.name), strict=True):
        axis.set_label_text(label.replace(" (", "\n("))
        axis.label.set_size(theme.text)
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"].update(linewidth=0.3, color=theme.missing)  # it has no public setter
    space.locator_params(axis="x", nbins=2)  # the label stands between the ticks
    space.locator_params(axis="y", nbins=2)
    space.tick_params(pad=-2)
    space.xaxis.labelpad = space.yaxis.labelpad = 0
    if field.missing:
        space.text2D(0.02, 0.84, hole_text(field.missing), fontsize=theme.small, transform=space.transAxes)
    space.view_init(*view)
    # Layout engines leave the labels out of account, so the box makes room for them: the same at every size.
    extent = space.get_window_extent()
    points = 72 * min(extent.width, extent.height) / space.get_figure(root=True).dpi
    place_heights(space, max(0.5, 1 - 32 / points))
