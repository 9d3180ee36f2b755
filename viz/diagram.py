"""Persistence diagrams: birth and death of each class as a point."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from .. import tda
from .classes import Classes, Source, read_classes
from .keys import legend_below
from .scale import Scale, choose_scale, readable
from .style import Theme, canvas, current
from .titles import entitle
from .value_axis import room_around, value_ticks

MARKERS = ("o", "^", "s", "D")
CROWD = 100  # more points than this are drawn smaller


def persistence_diagram(
    data: Source,
    ax: Axes | None = None,
    *,
    noise: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
    cells: tda.Cells = "vertices",
    metric: str | None = None,
    log: bool = False,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw a persistence diagram: each class at (birth, death), the further from the diagonal the longer it lives.

    H0 are basins, H1 rings around higher ground, H2 shells. Classes that never die stand on a line marked ∞. With a
    noise level, classes within it are hollow and the legend counts both; where the level is the same everywhere, a grey
    band along the diagonal shows it. What counts as noise is the reading of :func:`lrscape.tda.profile`.

    Args:
        data: A surface or an array of values on a grid of any dimension, or ready :class:`lrscape.tda.Diagrams`.
        ax: Where to draw; a new figure by default.
        noise: Standard error of the values, one number or one for each; None takes the surface's own, 0 no noise.
        threshold: Length up to which classes count as noise, whatever the standard error says.
        confidence: Probability that no class above the noise is due to it.
        cells: "vertices" or "top"; see :func:`lrscape.tda.persistence`.
        metric: Name of a metric of the surface to take instead of the loss.
        log: Logarithmic axes.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for all points.

    Returns:
        The Axes.

    Raises:
        TypeError: If noise or a metric is given for diagrams, which hold no values.
        ValueError: If the data is no grid, there is no class, or log is asked of values at or below zero.

    Example:
        >>> ax = persistence_diagram(np.array([3.0, 0.0, 2.0, 1.0, 4.0]))
        >>> ax.get_xlabel()
        'birth (value)'
    """
    theme = current()
    classes = read_classes(
        data,
        caller="viz.persistence_diagram",
        cells=cells,
        metric=metric,
        label=label,
        noise=noise,
        threshold=threshold,
        confidence=confidence,
    )
    scale = choose_scale(classes.ends, log=log, name=classes.name)
    with canvas(ax, theme, size=(3.6, 3.9), whole=True) as ax:
        low, high, forever = _frame(ax, scale, classes, theme)
        handles: list[Artist] = []
        for dimension in reversed(range(len(classes.points))):  # the many small loops lie under the few basins
            handles = _draw(ax, classes, dimension, forever, theme, kwargs) + handles
        if classes.band:
            handles.append(_draw_band(ax, low, high, classes, theme))
        ax.set(xlabel=f"birth ({classes.name})", ylabel=f"death ({classes.name})")
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=2)
        return ax


def _frame(ax: Axes, scale: Scale, classes: Classes, theme: Theme) -> tuple[float, float, float]:
    """Set equal limits on both axes, with the diagonal and the line at infinity; give the ends and that line."""
    endless = any(np.isinf(points[:, 1]).any() for points in classes.points)
    below, above = (0.12, 0.04) if classes.superlevel else (0.04, 0.12)
    ends = room_around(scale, below, above) if endless else room_around(scale, 0.04, 0.04)
    forever = room_around(scale, 0.07, 0.07)[0 if classes.superlevel else 1]
    if scale.log:
        ax.set(xscale="log", yscale="log")
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        value_ticks(axis, scale, ends)
    ax.plot(ends, ends, color=theme.muted, linewidth=theme.hair, zorder=1)
    if endless:
        ax.axhline(forever, color=theme.muted, linewidth=theme.hair, linestyle="--", zorder=1)
        ax.annotate(
            "∞ (never dies)", (0.5, forever), (0, 2 if classes.superlevel else -2), ha="center",
            va="bottom" if classes.superlevel else "top", xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", color=theme.muted, fontsize=theme.small,
        )  # fmt: skip
    return *ends, forever


def _draw(
    ax: Axes, classes: Classes, dimension: int, forever: float, theme: Theme, kwargs: dict[str, Any]
) -> list[Artist]:
    points, above = classes.points[dimension], classes.above[dimension]
    deaths = np.where(np.isinf(points[:, 1]), forever, points[:, 1])
    color = theme.series[dimension % len(theme.series)]
    size = 4.5 if sum(map(len, classes.points)) <= CROWD else 3.0
    look: dict[str, Any] = {
        "marker": MARKERS[dimension % len(MARKERS)],
        "linestyle": "none",
        "color": color,
        "markersize": size,
        "markeredgewidth": theme.hair,
        "zorder": 3,
        "clip_on": False,
        **kwargs,
    }
    hollow = {**look, "markerfacecolor": "none", "zorder": look["zorder"] - 0.5}
    for part, style in ((~above, hollow), (above, look)):
        if part.any():  # a layout would make room for a line without points at the corner of the figure
            ax.plot(points[part, 0], deaths[part], **style)
    name = f"H{chr(0x2080 + dimension)}"
    if not classes.filtered:
        return [Line2D([], [], **look, label=f"{name}: {len(points)}")]
    handles = [Line2D([], [], **look, label=f"{name} above the noise: {int(above.sum())}")]
    return [*handles, Line2D([], [], **hollow, label=f"{name} within it: {int((~above).sum())}")]


def _draw_band(ax: Axes, low: float, high: float, classes: Classes, theme: Theme) -> Artist:
    assert classes.band is not None
    along = np.geomspace(low, high, 200) if ax.get_xscale() == "log" else np.array([low, high])
    edge = along - classes.band if classes.superlevel else along + classes.band
    ax.fill_between(along, along, edge, color=theme.missing, linewidth=0, zorder=0.5)
    return Patch(color=theme.missing, linewidth=0, label=f"noise: length up to {readable(classes.band)}")
