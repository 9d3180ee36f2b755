"""An axis that carries the values of a surface, with room at its ends."""

from __future__ import annotations

import math
import re

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from .scale import Scale, together


def room_around(scale: Scale, below: float, above: float) -> tuple[float, float]:
    """Widen a range by parts of its width, on a logarithmic scale by as many powers.

    Args:
        scale: The range.
        below: Part to add at the low end; negative for a place within the range.
        above: Part to add at the high end.

    Returns:
        The ends.

    Example:
        >>> room_around(Scale(0.0, 10.0, log=False), 0.5, 0.25)
        (-5.0, 12.5)
    """
    low, high = (float(np.log(end)) if scale.log else end for end in (scale.low, scale.high))
    width = high - low
    ends = (low - below * width, high + above * width)
    return (float(np.exp(ends[0])), float(np.exp(ends[1]))) if scale.log else ends


def value_ticks(axis: Axis, scale: Scale, ends: tuple[float, float]) -> None:
    """Put readable numbers on an axis of values.

    Args:
        axis: The x or y axis of an Axes, on the scale that it is to have.
        scale: Range of the values.
        ends: What the axis shows.
    """
    if scale.log:
        ticks = scale.ticks(6)
    else:
        ticks = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends))
        ticks = ticks[(ticks >= ends[0]) & (ticks <= ends[1])]
    texts = together(ticks)
    stride = _stride(axis, texts) if axis is axis.axes.xaxis else 1
    axis.set_major_locator(FixedLocator(ticks[::stride].tolist()))
    axis.set_major_formatter(FixedFormatter(texts[::stride]))
    axis.set_minor_locator(NullLocator())


def _stride(axis: Axis, texts: list[str]) -> int:
    """Leave out as many numbers as it takes for the others to stand side by side."""
    longest = max((len(re.sub(r"\\times|[${}^]", "", text)) for text in texts), default=0)
    figure = axis.axes.get_figure(root=True)
    assert figure is not None
    width = axis.axes.get_window_extent().width * 72 / figure.dpi
    return math.ceil(len(texts) * (longest + 2) * 0.6 * float(axis.get_tick_params()["labelsize"]) / width) or 1
