"""Barcodes: each class as a bar from birth to death."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from .. import tda
from .classes import Classes, Source, read_classes
from .keys import legend_below
from .scale import choose_scale
from .style import Theme, canvas, current, open_frame
from .titles import entitle
from .value_axis import room_around, value_ticks

FAINT = 0.35


def barcode(
    data: Source,
    ax: Axes | None = None,
    *,
    most: int = 30,
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
    """Draw a barcode: H0 from the top, then H1, each from its longest bar to its shortest.

    A bar with an arrow never ends. Bars within the noise are faint. Of more than ``most`` bars the longest are drawn,
    and the legend says how many are not.

    Args:
        data: A surface or an array of values on a grid of any dimension, or ready :class:`lrscape.tda.Diagrams`.
        ax: Where to draw; a new figure by default.
        most: How many bars to draw at most, in all dimensions together.
        noise: Standard error of the values, one number or one for each; None takes the surface's own, 0 no noise.
        threshold: Length up to which classes count as noise, whatever the standard error says.
        confidence: Probability that no class above the noise is due to it.
        cells: "vertices" or "top"; see :func:`lrscape.tda.persistence`.
        metric: Name of a metric of the surface to take instead of the loss.
        log: Logarithmic values. A bar's length is then a ratio, while its rank stays that of its difference.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.hlines`, for all bars.

    Returns:
        The Axes.

    Raises:
        TypeError: If noise or a metric is given for diagrams, which hold no values.
        ValueError: If the data is no grid, there is no class, most is below 1, or log is asked of values at or below
            zero.

    Example:
        >>> ax = barcode(np.array([3.0, 0.0, 2.0, 1.0, 4.0]))
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['H₀: 2']
    """
    if most < 1:
        raise ValueError(f"most must be at least 1 bar, got {most}")
    theme = current()
    classes = read_classes(
        data,
        caller="viz.barcode",
        cells=cells,
        metric=metric,
        label=label,
        noise=noise,
        threshold=threshold,
        confidence=confidence,
    )
    scale = choose_scale(classes.ends, log=log, name=classes.name)
    drawn = _longest(classes, most)
    count = sum(map(len, drawn))
    with canvas(ax, theme, size=(3.8, 3.1)) as ax:
        open_frame(ax)
        ax.spines["left"].set_visible(False)
        low, high = room_around(scale, 0.06, 0.06)
        if scale.log:
            ax.set_xscale("log")
        ax.set(xlim=(low, high), ylim=(count - 0.4, -0.6), yticks=[], xlabel=classes.name)
        value_ticks(ax.xaxis, scale, (low, high))
        handles: list[Artist] = []
        first = 0
        look = {"linewidth": float(np.clip(60 / max(count, 1), 1.0, 3.0)), **kwargs}
        for dimension, chosen in enumerate(drawn):
            rows = np.arange(first, first + len(chosen))
            _draw(ax, classes, dimension, chosen, rows, low if classes.superlevel else high, theme, look)
            handles.append(_key(classes, dimension, theme))
            first += len(chosen)
        left_out = sum(map(len, classes.points)) - count
        if left_out:
            handles.append(Line2D([], [], linestyle="none", label=f"{left_out} shorter not drawn"))
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=2)
        return ax


def _longest(classes: Classes, most: int) -> list[NDArray[np.intp]]:
    """Choose the longest bars of all dimensions together; give for each its own, longest first."""
    lengths = [classes.lengths(k) for k in range(len(classes.points))]
    numbers = np.concatenate([np.arange(len(each)) for each in lengths])
    owners = np.repeat(np.arange(len(lengths)), [len(each) for each in lengths])
    ranked = np.argsort(-np.concatenate(lengths), kind="stable")[:most]
    return [numbers[ranked[owners[ranked] == k]] for k in range(len(lengths))]


def _draw(
    ax: Axes,
    classes: Classes,
    dimension: int,
    chosen: NDArray[np.intp],
    rows: NDArray[np.intp],
    edge: float,
    theme: Theme,
    look: dict[str, Any],
) -> None:
    points, above = classes.points[dimension][chosen], classes.above[dimension][chosen]
    endless = np.isinf(points[:, 1])
    deaths = np.where(endless, edge, points[:, 1])
    color = theme.series[dimension % len(theme.series)]
    for alpha, part in ((1.0, above), (FAINT, ~above)):
        if part.any():
            ax.hlines(rows[part], points[part, 0], deaths[part], **{"color": color, "alpha": alpha, **look})
    if endless.any():
        tip: dict[str, Any] = {"color": color, "markersize": look["linewidth"] + 3, "markeredgewidth": 0}
        ax.plot(deaths[endless], rows[endless], "<" if classes.superlevel else ">", clip_on=False, **tip)


def _key(classes: Classes, dimension: int, theme: Theme) -> Artist:
    above = int(classes.above[dimension].sum())
    within = len(classes.above[dimension]) - above
    faint = f"{within} within (faint)" if within else "none within"
    count = f"{above} above the noise, {faint}" if classes.filtered else f"{above}"
    color = theme.series[dimension % len(theme.series)]
    return Line2D([], [], color=color, linewidth=3, label=f"H{chr(0x2080 + dimension)}: {count}")
