"""Several runs as one curve with a band: what differs between seeds, and what between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface
from .field import read_field, verbatim
from .keys import legend_below
from .line import DASHES
from .scale import check_positive, log_axis
from .style import Theme, canvas, current, few_ticks, open_frame
from .titles import entitle

Spread = Literal["error", "deviation", "range"]
NAMES = {
    "error": "± 2 standard errors of the mean",
    "deviation": "± 1 standard deviation",
    "range": "lowest to highest",
}

Runs = Sequence[LossSurface] | tuple[ArrayLike, ArrayLike]


def bands(
    groups: Mapping[str, Runs],
    ax: Axes | None = None,
    *,
    spread: Spread = "error",
    runs: bool = False,
    metric: str | None = None,
    log: bool = False,
    xlabel: str | None = None,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the mean over the runs of each group, with a band of how they differ.

    The runs are seeds, batches or random directions: 1-D surfaces on the same coordinates, or curves over training.
    With ``log`` means and deviations are those of the logarithms, so that a mean is geometric and a band a ratio. Where
    a run is not finite the curve of its group has a gap, and a cross at the upper edge.

    Args:
        groups: By name, 1-D surfaces, or coordinates of shape (n,) with values of shape (runs, n).
        ax: Where to draw; a new figure by default.
        spread: What the band covers: "error" for ±2 standard errors of the mean, "deviation" for ±1 standard deviation
            of the runs (divided by runs − 1), "range" for all runs. A single run has no band.
        runs: Draw every run, too, as a thin line.
        metric: Name of a metric of the surfaces to draw instead of the loss.
        log: Logarithmic values.
        xlabel: Label of the coordinates, if it is not that of the surfaces or "optimizer step".
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for every mean.

    Returns:
        The Axes.

    Raises:
        TypeError: If the runs of a group are of another kind.
        ValueError: If there is none, their coordinates differ, nothing is finite, or log is asked of values at or below
            zero.

    Example:
        >>> ax = bands({"sgd": ([0, 1], [[3.0, 1.0], [5.0, 3.0]])}, spread="range")
        >>> ax.lines[0].get_ydata().tolist()
        [4.0, 2.0]
    """
    if spread not in get_args(Spread):
        raise ValueError(f"spread must be one of {', '.join(map(repr, get_args(Spread)))}, got {spread!r}")
    if not groups:
        raise ValueError("groups must hold at least one group of runs, got none")
    theme = current()
    read = {name: _read(name, given, metric, label) for name, given in groups.items()}
    for name, (_, values, _, _) in read.items():
        if not np.isfinite(values).all(axis=0).any():
            raise ValueError(f"there is no point at which all {len(values)} runs of {name!r} are finite")
        if log:
            check_positive(values, name)
    with canvas(ax, theme, size=(3.8, 2.9)) as ax:
        open_frame(ax)
        few_ticks(ax)
        handles: list[Artist] = []
        for number, (name, (x, values, _, _)) in enumerate(read.items()):
            color = theme.series[number % len(theme.series)]
            middle, low, high = _summary(values, spread, log)
            count = f"mean of {len(values)}" if len(values) > 1 else "one run"
            look = {
                "color": color,
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": theme.line,
                "label": f"{verbatim(name)} ({count})",
                **kwargs,
            }
            handles.extend(ax.plot(x, middle, **look))
            if low is not None and high is not None:
                ax.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0, zorder=1)
            if runs:
                finite = np.where(np.isfinite(values), values, np.nan)
                ax.plot(x, finite.T, color=look["color"], linewidth=0.5 * theme.line, alpha=0.5, zorder=1.5)
        if log:
            log_axis(ax, np.concatenate([values.ravel() for _, values, _, _ in read.values()]))
        handles += _keys(ax, read, spread, theme)
        told = [names for _, _, *names in read.values()]
        ax.set(xlabel=told[0][0] if xlabel is None else xlabel, ylabel=told[0][1])
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=2)
        return ax


Read = tuple[NDArray[np.float64], NDArray[np.float64], str, str]


def _read(name: str, given: Runs, metric: str | None, label: str | None) -> Read:
    """Read coordinates, values of shape (runs, n), and what both are."""
    parts: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if parts and all(isinstance(one, LossSurface) for one in parts):
        fields = [read_field(one, dims=1, caller="viz.bands", metric=metric, label=label) for one in parts]
        x = fields[0].axes[0]
        if any(field.axes[0].shape != x.shape or not np.allclose(field.axes[0], x) for field in fields):
            raise ValueError(f"the surfaces of {name!r} have different coordinates, so that no mean can be taken")
        return x, np.stack([field.values for field in fields]), fields[0].labels[0], fields[0].name
    if not isinstance(given, tuple) or len(parts) != 2:
        kind = f"a {type(given).__name__}" + (f" of {len(parts)}" if len(parts) > 1 else "")
        raise TypeError(
            f"groups[{name!r}] must hold 1-D surfaces, or a pair (coordinates, values of shape (runs, n)), got {kind}"
        )
    if metric is not None:
        raise TypeError("metric belongs to surfaces, but arrays were given; pass label= to name them")
    x, values = np.asarray(parts[0], dtype=np.float64), np.atleast_2d(np.asarray(parts[1], dtype=np.float64))
    if x.ndim != 1 or values.ndim != 2 or values.shape[1] != len(x) or values.size == 0:
        raise ValueError(
            f"groups[{name!r}] must hold coordinates of shape (n,) and values of shape (runs, n), got {x.shape} and "
            f"{np.shape(parts[1])}"
        )
    return x, values, "optimizer step", label or "loss"


def _summary(
    values: NDArray[np.float64], spread: Spread, log: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
    count = len(values)
    finite = np.where(np.isfinite(values).all(axis=0), values, np.nan)
    scaled = np.log(finite) if log else finite
    back = np.exp if log else np.asarray
    middle = scaled.mean(axis=0)
    if count < 2:
        return back(middle), None, None
    if spread == "range":
        return back(middle), finite.min(axis=0), finite.max(axis=0)
    reach = scaled.std(axis=0, ddof=1) * (2 / np.sqrt(count) if spread == "error" else 1.0)
    return back(middle), back(middle - reach), back(middle + reach)


def _keys(ax: Axes, read: Mapping[str, Read], spread: Spread, theme: Theme) -> list[Artist]:
    handles: list[Artist] = []
    if any(len(values) > 1 for _, values, _, _ in read.values()):
        handles.append(Patch(color=theme.muted, alpha=0.4, linewidth=0, label=NAMES[spread]))
    lost = [x[~np.isfinite(values).all(axis=0)] for x, values, _, _ in read.values()]
    places = np.unique(np.concatenate(lost))
    if len(places):
        cross: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": theme.muted, "markersize": 4}
        ax.plot(places, np.full(len(places), 0.98), transform=ax.get_xaxis_transform(), **cross)
        handles.append(Line2D([], [], label=f"a run is not finite ({len(places)})", **cross))
    return handles
