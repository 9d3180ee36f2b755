"""Named places on a landscape: the checkpoints that a plane goes through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from .contour import contour
from .field import verbatim
from .keys import legend_below
from .labels import shorten
from .scale import together
from .style import Theme, again, current

LONGEST = 16  # letters of a name; of longer ones is shown what tells them apart


def plane(
    surface: LossSurface | ArrayLike,
    ax: Axes | None = None,
    *,
    anchors: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    losses: ArrayLike | None = None,
    connect: bool = True,
    **kwargs: Any,
) -> Axes:
    """Draw the plane through given weights, usually three minima, with these weights on it.

    The figure is that of Garipov et al. 2018 (arXiv:1802.10026). A dotted line joins the anchors: what it climbs is the
    barrier of a straight path. The legend gives each anchor's own loss where it is known; the colours show the loss in
    the plane, which differs from it where buffers belong to one anchor alone.

    Args:
        surface: A surface along :func:`lrscape.landscape.plane_through`, or an array of shape (n, m) with its ``axes``.
        ax: Where to draw; a new figure by default.
        anchors: Their coordinates, shape (A, 2); those in the surface's provenance by default.
        names: What to call them; by default the file names in the provenance, else a, b, c, …
        losses: Their own losses, shape (A,), likewise.
        connect: Join them by dotted lines.
        **kwargs: For :func:`lrscape.viz.contour`.

    Returns:
        The Axes.

    Raises:
        ValueError: If no anchors are known, their shape is another, or names or losses do not fit them.

    Example:
        >>> u = np.linspace(-1, 1, 21)
        >>> ax = plane(u[:, None] ** 2 + u**2, axes=(u, u), anchors=[[0, 0], [0.5, 0], [0, 0.5]])
        >>> [text.get_text() for text in ax.texts]
        ['a', 'b', 'c']
    """
    told = surface.provenance if isinstance(surface, LossSurface) else {}
    found = told.get("anchors") if anchors is None else anchors
    if found is None:
        raise ValueError(
            "anchors must hold the coordinates of the weights that the plane goes through, which this surface does not "
            "tell; measure along landscape.plane_through, or pass them, e.g. section.coordinates"
        )
    places = np.asarray(found, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise ValueError(f"anchors must hold finite coordinates in the plane, of shape (A, 2), got {places.shape}")
    if names is None:
        files = told.get("anchor_checkpoints") if anchors is None else None
        names = [chr(97 + i % 26) for i in range(len(places))] if files is None else [PurePath(f).name for f in files]
    if losses is None and anchors is None:
        losses = told.get("anchor_losses")
    if isinstance(names, str) or len(names) != len(places):
        raise ValueError(f"names must name each of the {len(places)} anchors, got {names!r}")
    if losses is not None and np.shape(losses) != (len(places),):
        raise ValueError(f"losses must give one for each of the {len(places)} anchors, got shape {np.shape(losses)}")
    theme, new = current(), ax is None
    ax = contour(surface, ax, **{"mark_minimum": False, "mark_center": False, **kwargs})
    if connect and len(places) > 1:
        closed = places if len(places) == 2 else np.concatenate([places, places[:1]])
        casing = [patheffects.Stroke(linewidth=theme.line + 0.6, foreground=theme.outline), patheffects.Normal()]
        ax.plot(*closed.T, ":", color=theme.mark, linewidth=theme.line, path_effects=casing, zorder=3)
    mark_places(ax, places, names, theme)
    if losses is not None:
        known = ax.get_legend()
        handles = [] if known is None else list(known.legend_handles)
        texts = zip(shorten(names, LONGEST), together(losses, most=9), strict=True)
        handles += [Line2D([], [], **_look(theme), label=f"{verbatim(name)}: loss {loss}") for name, loss in texts]
        figure = ax.get_figure(root=True)
        if new and figure is not None:
            figure.set_size_inches(np.maximum(figure.get_size_inches(), (4.2, 3.7)))  # room for the legend
        with again(ax, theme, new=new):
            legend_below(ax, [handle for handle in handles if handle is not None], theme)
    return ax


def mark_places(
    ax: Axes, places: NDArray[np.float64], names: Sequence[str], theme: Theme, *, diamonds: bool = True
) -> None:
    """Put a diamond and a name at each place; a name that would run into an earlier one is left out.

    Args:
        ax: 2-D Axes, with their limits set.
        places: Coordinates, shape (A, 2).
        names: As many.
        theme: Colours and sizes.
        diamonds: Draw the diamonds, too.
    """
    for settle in (ax.get_xlim, ax.get_ylim):  # limits that are still to be found
        settle()
    box = ax.get_window_extent()
    figure = ax.get_figure(root=True)
    assert figure is not None
    size = np.array([box.width, box.height]) * 72 / figure.dpi  # points, before the layout
    taken: list[tuple[NDArray[np.float64], float]] = []
    casing = [patheffects.withStroke(linewidth=2, foreground=theme.mark)]
    for place, name in zip(places, shorten(names, LONGEST), strict=True):
        text = verbatim(name)
        if diamonds:
            ax.plot(*place, **_look(theme), zorder=4, clip_on=False)
        share = ax.transAxes.inverted().transform(ax.transData.transform(place))
        width = 0.6 * theme.small * (len(text) + 2)
        middle, beside = share.copy(), "center"
        over = (abs(share[0] - 0.5) - 0.5) * size[0] + width / 2  # how far it would leave the frame
        if over > 0 and abs(share[0] - 0.5) > 1e-9:
            inwards = -1 if share[0] > 0.5 else 1
            beside = "right" if inwards < 0 else "left"
            middle[0] += inwards * width / 2 / size[0]
        if any(_collide((middle - other) * size, (width + wide) / 2, 1.5 * theme.small) for other, wide in taken):
            continue
        taken.append((middle, width))
        below = share[1] > 0.93  # at the upper edge a name would leave the frame
        ax.annotate(
            text, place, (0, -6 if below else 6), textcoords="offset points", ha=beside,
            va="top" if below else "bottom", fontsize=theme.small, color=theme.outline, path_effects=casing, zorder=6,
        )  # fmt: skip


def _collide(apart: NDArray[np.float64], width: float, height: float) -> bool:
    return bool(abs(apart[0]) < width and abs(apart[1]) < height)


def _look(theme: Theme) -> dict[str, Any]:
    edge = {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
    return {"marker": "D", "markersize": 4, "color": theme.mark, "linestyle": "none", **edge}
