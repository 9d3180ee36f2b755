"""Curves over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from .field import verbatim
from .keys import legend_below
from .line import DASHES
from .scale import log_axis
from .style import canvas, current, open_frame
from .titles import entitle


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    ax: Axes | None = None,
    *,
    xlabel: str = "optimizer step",
    ylabel: str = "loss",
    guides: Mapping[str, float] | None = None,
    log: bool = False,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw several runs over their steps, each labelled with its last value.

    Args:
        series: By name, steps and values of equal length.
        ax: Where; a new figure by default.
        xlabel: Label of the steps.
        ylabel: Label of the values.
        guides: By name, values to draw as horizontal lines, for comparison.
        log: Logarithmic values.
        title: Of the Axes.
        **kwargs: Passed to ``Axes.plot``.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is nothing to draw, lengths differ, or a logarithm is asked of values that have none.

    Example:
        >>> len(curves({"a": ([1, 2], [0.5, 0.25]), "b": ([1, 2], [0.4, 0.3])}).lines)
        2
    """
    if not series:
        raise ValueError("series must hold at least one run, got none")
    arrays = {name: (np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in series.items()}
    for name, (x, y) in arrays.items():
        if x.ndim != 1 or x.shape != y.shape or not len(x):
            raise ValueError(f"series {name!r} must have as many values as steps, got {y.shape} and {x.shape}")
        if log and (y <= 0).any():
            raise ValueError(f"series {name!r} has values that are not positive; draw it with log=False")
    theme = current()
    with canvas(ax, theme, size=(3.8, 2.9)) as ax:
        open_frame(ax)
        for number, (name, (x, y)) in enumerate(arrays.items()):
            look = {
                "color": theme.series[number % len(theme.series)],
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": theme.line,
                "label": f"{verbatim(name)} (last: {y[-1]:.3g})",
                **kwargs,
            }
            ax.plot(x, y, **look)
        if log:
            log_axis(ax, np.concatenate([y for _, y in arrays.values()]))
        ax.set(xlabel=xlabel, ylabel=ylabel)
        entitle(ax, title, theme)
        handles: list[Artist] = []
        handles += list(ax.lines)[-len(arrays) :]
        for name, height in (guides or {}).items():
            guide: dict[str, Any] = {"color": theme.muted, "linewidth": theme.line, "linestyle": (0, (4, 2))}
            handles.append(ax.axhline(height, **guide, zorder=1, label=f"{verbatim(name)} ({height:.3g})"))
        legend_below(ax, handles, theme)
        return ax
