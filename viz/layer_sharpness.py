"""The sharpness of each layer, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from ..landscape import PowerIteration, TopEigenvalues
from .field import plain
from .keys import legend_below, missing_style
from .scale import Readable, ratio, readable
from .style import Theme, canvas, current, open_frame
from .titles import entitle

WIDE = 30.0  # ratio of largest to smallest bar beyond which equal ratios should look alike
LONGEST = 28  # letters of a layer's name; of longer ones the end is shown

Found = TopEigenvalues | PowerIteration | float


def layer_sharpness(
    found: Mapping[str, Found],
    ax: Axes | None = None,
    *,
    whole: float | None = None,
    most: int = 30,
    log: bool | None = None,
    label: str = "sharpness of the layer's block (loss/step²)",
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the largest eigenvalue of each layer's block, in the model's order from the top.

    The whisker is the residual: an eigenvalue of the block lies within it. A block's largest eigenvalue is at most that
    of the whole matrix, the dashed line.

    Args:
        found: By layer, as :func:`lrscape.landscape.by_layer` gives it with ``top_eigenvalues`` or ``power_iteration``;
            or plain numbers.
        ax: Where to draw; a new figure by default.
        whole: The largest eigenvalue of the whole matrix, to draw beside them.
        most: How many bars to draw at most: the largest, still in the model's order.
        log: Logarithmic sharpness; by default where all are positive and span more than a factor of thirty.
        label: Name of the values.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.barh`, for all bars.

    Returns:
        The Axes.

    Raises:
        TypeError: If a value is of another kind.
        ValueError: If there is no layer, none is finite, most is below 1, or log is asked of values at or below zero.

    Example:
        >>> ax = layer_sharpness({"features": 2.0, "head": 5.0}, whole=5.5)
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['features', 'head']
    """
    if most < 1:
        raise ValueError(f"most must be at least 1 bar, got {most}")
    if not found:
        raise ValueError("found must hold at least one layer, got none")
    theme = current()
    names, (values, reach) = list(found), np.array([_read(name, one) for name, one in found.items()]).T
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError(f"none of the {len(values)} sharpnesses is finite, so there is nothing to draw")
    if log and (values[finite] <= 0).any():
        raise ValueError(f"log=True needs values above 0, the lowest is {values[finite].min():.3g}; use log=False")
    chosen = np.sort(np.argsort(-np.where(finite, values, np.inf), kind="stable")[:most])
    values, reach, finite = values[chosen], reach[chosen], finite[chosen]
    shown = values[finite]
    logarithmic = bool((shown > 0).all() and ratio(shown) > WIDE) if log is None else log
    with canvas(ax, theme, size=(4.4, 1.0 + 0.17 * len(chosen))) as ax:
        open_frame(ax)
        rows = np.arange(len(chosen), dtype=float)
        left = _axis(ax, shown, whole, logarithmic)
        look = {"color": theme.series[0], "height": 0.7, "linewidth": 0, **kwargs}
        ax.barh(rows[finite], shown - left, left=left, **look)
        if np.nansum(reach) > 0:
            _whiskers(ax, rows[finite], shown, reach[finite], left, theme)
        ax.barh(rows[~finite], 1.0, transform=ax.get_yaxis_transform(), **missing_style(theme))
        ax.set(ylim=(len(chosen) - 0.4, -0.6), yticks=rows, xlabel=label, ylabel="layer")
        ax.set_yticklabels([_short(names[i]) for i in chosen], fontsize=theme.small)
        ax.tick_params(axis="y", length=0)
        legend_below(ax, _keys(ax, whole, int((~finite).sum()), len(names) - len(chosen), theme), theme, columns=2)
        entitle(ax, title, theme)
        return ax


def _read(name: str, one: Any) -> tuple[float, float]:
    if isinstance(one, TopEigenvalues):
        return float(one.eigenvalues[0]), float(one.residuals[0])
    if isinstance(one, PowerIteration):
        return one.eigenvalue, one.residual
    try:
        return float(one), 0.0
    except (TypeError, ValueError):
        raise TypeError(
            f"found[{name!r}] must be a number, or come from top_eigenvalues or power_iteration, got "
            f"{type(one).__name__}"
        ) from None


def _short(name: str) -> str:
    """Name a layer; one that is the model itself has none."""
    text = plain(name) if name else "(the model)"
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"


def _axis(ax: Axes, shown: NDArray[np.float64], whole: float | None, logarithmic: bool) -> float:
    """Set the scale; give where bars begin."""
    ends = np.append(shown, [] if whole is None else whole)
    if not logarithmic:
        low, high = min(float(ends.min()), 0.0), max(float(ends.max()), 0.0)
        room = 0.06 * (high - low) or 1.0
        ax.set_xlim(low - (room if low < 0 else 0), high + room)
        return 0.0
    left = float(ends.min()) / 2
    ax.set_xscale("log")
    ax.set_xlim(left, 1.5 * float(ends.max()))
    spread = ratio(ends)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if spread < 1000 else (1.0,), numticks=7))
    ax.xaxis.set_major_formatter(Readable())
    ax.xaxis.set_minor_formatter(NullFormatter())
    return left


def _whiskers(
    ax: Axes,
    rows: NDArray[np.float64],
    shown: NDArray[np.float64],
    reach: NDArray[np.float64],
    left: float,
    theme: Theme,
) -> None:
    down = np.minimum(reach, shown - left) if left > 0 else reach  # a logarithmic axis ends where the bars begin
    style: dict[str, Any] = {"fmt": "none", "ecolor": theme.ink, "elinewidth": theme.hair, "capsize": 1.5}
    ax.errorbar(shown, rows, xerr=(down, reach), zorder=3, **style)


def _keys(ax: Axes, whole: float | None, lost: int, left_out: int, theme: Theme) -> list[Artist]:
    handles: list[Artist] = []
    if whole is not None and np.isfinite(whole):
        line = ax.axvline(whole, color=theme.accent, linewidth=theme.line, linestyle="--", zorder=2)
        line.set_label(f"the whole model: {readable(whole)}")
        handles.append(line)
    if lost:
        handles.append(Patch(label=f"not finite ({lost})", **missing_style(theme)))
    if left_out:
        handles.append(Line2D([], [], linestyle="none", label=f"{left_out} smaller not drawn"))
    return handles
