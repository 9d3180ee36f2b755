"""Merge trees: which basin joins which, and at what height."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from .. import tda
from .chosen_basins import Basins, read_basins
from .classes import Source
from .keys import legend_below
from .scale import choose_scale
from .style import Theme, canvas, current, open_frame
from .titles import entitle
from .value_axis import room_around, value_ticks

FEW = 10  # more basins than this get thinner lines and smaller marks


def merge_tree(
    data: Source,
    ax: Axes | None = None,
    *,
    most: int = 10,
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
    """Draw the merge tree of the basins: each stands at the height of its bottom and ends at its pass.

    The basins are those above the noise, at most ``most`` by persistence, numbered from the deepest bottom on: with
    the same arguments as in :func:`lrscape.viz.basins`. The line of the deepest goes on above the highest value; basins
    that holes keep apart are separate trees.

    Args:
        data: A surface or an array of values on a grid of any dimension, or a ready :class:`lrscape.tda.MergeTree`.
        ax: Where to draw; a new figure by default.
        most: How many basins to draw at most; the legend says how many are not.
        noise: Standard error of the values, one number or one for each; None takes the surface's own, 0 no noise.
        threshold: Depth up to which basins count as noise, whatever the standard error says.
        confidence: Probability that no basin above the noise is due to it.
        cells: "vertices" or "top"; see :func:`lrscape.tda.merge_tree`.
        metric: Name of a metric of the surface to take instead of the loss.
        log: Logarithmic height.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for the lines of the tree.

    Returns:
        The Axes.

    Raises:
        TypeError: If the data are diagrams, or noise or a metric is given for a tree, which holds no values.
        ValueError: If the data is no grid or has no finite value, most is below 1, or log is asked of values at or
            below zero.

    Example:
        >>> ax = merge_tree(np.array([3.0, 0.0, 2.0, 1.0, 4.0]))
        >>> [text.get_text() for text in ax.texts]
        ['1', '2']
    """
    theme = current()
    basins = read_basins(
        data,
        caller="viz.merge_tree",
        most=most,
        cells=cells,
        metric=metric,
        label=label,
        noise=noise,
        threshold=threshold,
        confidence=confidence,
    )
    bottoms, passes = basins.tree.heights[basins.shown], basins.tree.saddle_heights[basins.shown]
    scale = choose_scale(np.append(bottoms, basins.highest), log=log, name=basins.name)
    places = order_leaves(basins.parents, passes)
    with canvas(ax, theme, size=(3.8, 3.1)) as ax:
        open_frame(ax)
        ax.spines["bottom"].set_visible(False)
        low, high = room_around(scale, 0.12, 0.06)
        if scale.log:
            ax.set_yscale("log")
        ax.set(xlim=(-0.6, len(places) - 0.4), ylim=(low, high), xticks=[], ylabel=basins.name)
        # Without tick labels above it, the label would stand far from the legend below it.
        ax.set_xlabel("basin" if len(places) == 1 else "basins, numbered from the deepest", labelpad=theme.small + 2)
        value_ticks(ax.yaxis, scale, (low, high))
        look = {"color": theme.series[0], "linewidth": theme.line if len(places) <= FEW else theme.hair, **kwargs}
        _draw_lines(ax, basins, places, bottoms, np.where(np.isfinite(passes), passes, high), look)
        _draw_leaves(ax, places, bottoms, theme)
        handles = _keys(ax, basins, places, passes, theme)
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=2)
        return ax


def order_leaves(parents: NDArray[np.intp], passes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place basins side by side so that no line of the tree crosses another.

    What joins a basin stands to its right, the lowest pass next to it: the line at a pass then runs over whole subtrees
    that ended below it.

    Args:
        parents: Position of the basin that each joins, −1 for a root; shape (n,).
        passes: Heights at which they join, shape (n,).

    Returns:
        The place of each basin from the left, shape (n,).

    Example:
        >>> order_leaves(np.array([-1, 0, 0]), np.array([np.inf, 5.0, 3.0])).tolist()
        [0, 2, 1]
    """
    children: dict[int, list[int]] = {}
    for number in np.argsort(passes, kind="stable").tolist():
        children.setdefault(int(parents[number]), []).append(number)
    places = np.zeros(len(parents), dtype=np.intp)
    waiting, place = sorted(children.get(-1, []), reverse=True), 0
    while waiting:
        number = waiting.pop()
        places[number] = place
        place += 1
        waiting.extend(reversed(children.get(number, [])))
    return places


def _draw_lines(
    ax: Axes,
    basins: Basins,
    places: NDArray[np.intp],
    bottoms: NDArray[np.float64],
    tops: NDArray[np.float64],
    look: dict[str, Any],
) -> None:
    for place, bottom, top, parent in zip(places, bottoms, tops, basins.parents, strict=True):
        if parent < 0:
            ax.plot([place, place], [bottom, top], **look)
            ax.plot(place, top, marker="^", markersize=4, color=look["color"], markeredgewidth=0, clip_on=False)
        else:
            ax.plot([place, place, places[parent]], [bottom, top, top], solid_joinstyle="miter", **look)


def _draw_leaves(ax: Axes, places: NDArray[np.intp], bottoms: NDArray[np.float64], theme: Theme) -> None:
    ax.plot(places, bottoms, linestyle="none", marker="o", markersize=3.5, color=theme.accent, zorder=3)
    for number, (place, bottom) in enumerate(zip(places, bottoms, strict=True), start=1):
        ax.annotate(
            str(number), (place, bottom), (0, -3.5), textcoords="offset points", ha="center", va="top",
            fontsize=theme.small,
        )  # fmt: skip


def _keys(
    ax: Axes, basins: Basins, places: NDArray[np.intp], passes: NDArray[np.float64], theme: Theme
) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], linestyle="none", marker="o", markersize=3.5, color=theme.accent, label="bottom of a basin")
    ]
    joins = np.isfinite(passes)
    if joins.any():
        look: dict[str, Any] = {
            "linestyle": "none",
            "marker": "X",
            "markersize": 4.5 if len(places) <= FEW else 3,
            "color": theme.paper,
        }
        look |= {"markeredgecolor": theme.ink, "markeredgewidth": theme.hair, "zorder": 3}
        ends = places[basins.parents[joins]]
        ax.plot(ends, passes[joins], **look)
        handles.append(Line2D([], [], label="pass to a deeper one", **look))
    if basins.left_out:
        handles.append(Line2D([], [], linestyle="none", label=basins.left_out))
    return handles
