"""The learning rate of a run, and why it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from .decisions import (
    Decision,
    HasHistory,
    choose_measurement,
    measured_values,
    rates_at_decisions,
    read_decisions,
    recorded_rates,
)
from .field import plain
from .keys import legend_below, room
from .panels import panel_below
from .reasons import looks
from .scale import log_axis, ratio
from .style import Theme, canvas, current, open_frame
from .titles import entitle

# Where the middle half of the values spans such a factor, a logarithmic scale reads better; a rate that a schedule
# takes to zero at its end does not ask for one.
WIDE_RATES, WIDE_MEASUREMENT = 8.0, 4.0
UNITS = {"curvature": "curvature\n(loss/step²)"}

Looks = Mapping[str, Mapping[str, Any]]


def lr_trace(
    scheduler: HasHistory | Iterable[Decision],
    ax: Axes | None = None,
    *,
    rates: ArrayLike | None = None,
    measurement: str | None = "auto",
    measurement_ax: Axes | None = None,
    log: bool | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the learning rate over the optimizer steps, with every decision marked by its reason.

    A second panel below shows the measurement that each decision rests on, with the same marks; where it is not
    finite the mark stands at the upper edge. Without ``rates`` the rate is known at the decisions only and is drawn as
    constant between them, which leaves out what an inner schedule does meanwhile. With several groups the marks stand
    on the rate of the first.

    Args:
        scheduler: A scheduler with a ``history``, or its decisions.
        ax: Where to draw; a new figure by default. The panel below takes its room from it.
        rates: Learning rates recorded at every step, shape (steps,) or (steps, groups); row i is that after i steps.
        measurement: Name of the measured number to draw; "auto" takes the curvature, else the sharpness, else the
            first there is; None draws no second panel.
        measurement_ax: Where to draw the measurement, instead of a panel made from the room of ``ax``.
        log: Logarithmic rate; by default where the middle half of the rates spans more than a factor of eight.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for the rate of every group.

    Returns:
        The Axes of the rate; the panel of the measurement shares its x axis.

    Raises:
        ValueError: If there is nothing to draw, the measurement is not known, or ``rates`` has a wrong shape.

    Example:
        >>> from types import SimpleNamespace
        >>> made = [SimpleNamespace(step=50, measurement={"sharpness": 0.6}, reason="very sharp", rates=[8e-4])]
        >>> lr_trace(made).get_ylabel()
        'learning rate'
    """
    theme = current()
    decisions = read_decisions(scheduler)
    if not decisions and rates is None:
        raise ValueError(
            "there is no decision to draw: the history is empty, because nothing was measured yet; call "
            "scheduler.probe(closure) in the training loop, or pass the recorded rates="
        )
    steps, table = rates_at_decisions(decisions) if rates is None else recorded_rates(rates)
    measured = choose_measurement(decisions, measurement)
    marks = looks([decision.reason for decision in decisions], theme)
    with canvas(ax, theme, size=(4.6, 2.6 if measured is None else 3.8)) as ax:
        last = ax
        if measured is not None:
            last = panel_below(ax, theme) if measurement_ax is None else measurement_ax
            values = measured_values(decisions, measured)
            _draw_measurement(last, decisions, values, theme)
            _draw_marks(last, decisions, values, marks, theme)
            last.set_ylabel(UNITS.get(measured, plain(measured)))
            open_frame(last)
            if measurement_ax is None:
                ax.tick_params(labelbottom=False)
                ax.figure.align_ylabels([ax, last])
        handles = _draw_rates(ax, steps, table, theme, kwargs)
        if ratio(table, 0.5) > WIDE_RATES if log is None else log:
            log_axis(ax, table)
            # A schedule that ends near zero must not squeeze the rest.
            ax.set_ylim(bottom=float(np.quantile(table[table > 0], 0.02)) / 2)
        else:
            ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
        first = np.array([float(decision.rates[0]) for decision in decisions])
        _draw_marks(ax, decisions, first, marks, theme)
        ax.set_ylabel("learning rate")
        open_frame(ax)
        last.set_xlabel("optimizer step")
        counts = {reason: sum(decision.reason == reason for decision in decisions) for reason in marks}
        handles += [
            Line2D([], [], **{**_mark_look(look, theme), "markersize": 5}, label=f"{plain(reason)} ({counts[reason]})")
            for reason, look in marks.items()
        ]
        legend_below(last, handles, theme, columns=3)
        entitle(ax, title, theme)
        return ax


def _draw_rates(
    ax: Axes, steps: NDArray[np.float64], table: NDArray[np.float64], theme: Theme, kwargs: dict[str, Any]
) -> list[Artist]:
    groups = table.shape[1]
    alike = groups > 1 and bool((table == table[:, :1]).all())
    shown = 1 if alike else groups
    if shown <= len(theme.series):
        colors: Sequence[Any] = theme.series
    else:  # more groups than colours that can be told apart: in order along the colour map
        colors = mpl.colormaps[theme.cmap](np.linspace(0, 0.9, shown)).tolist()
    handles: list[Artist] = []
    for group in range(shown):
        name = f"rate of all {groups} groups" if alike else "rate" if groups == 1 else f"rate of group {group + 1}"
        look = {"color": colors[group], "linewidth": theme.line, "drawstyle": "steps-post", "label": name, **kwargs}
        (curve,) = ax.plot(steps, table[:, group], zorder=2, **look)
        if shown <= len(theme.series) or group in {0, shown - 1}:
            handles.append(curve)
    return handles


def _draw_measurement(ax: Axes, decisions: Sequence[Decision], values: NDArray[np.float64], theme: Theme) -> None:
    finite = np.isfinite(values)
    steps = np.array([decision.step for decision in decisions])
    ax.plot(steps[finite], values[finite], color=theme.muted, linewidth=theme.hair, zorder=1)
    if (values[finite] > 0).all() and ratio(values, 0.5) > WIDE_MEASUREMENT:
        log_axis(ax, values)


def _mark_look(look: Mapping[str, Any], theme: Theme) -> dict[str, Any]:
    return {"markeredgecolor": theme.ink, "markeredgewidth": 0.6 * theme.hair, **look}


def _draw_marks(
    ax: Axes,
    decisions: Sequence[Decision],
    heights: NDArray[np.float64],
    marks: Looks,
    theme: Theme,
) -> None:
    steps = np.array([decision.step for decision in decisions])
    reasons = np.array([decision.reason for decision in decisions], dtype=object)
    for reason, look in marks.items():
        here = reasons == reason
        # Where there are many they shrink until they fit side by side; the rare ones stay large, and on top.
        size = float(np.clip(0.7 * room(ax) / here.sum(), 2.0, 5.0))
        style = {**_mark_look(look, theme), "markersize": size, "zorder": 3 + 1 / here.sum()}
        lost = here & ~np.isfinite(heights)
        ax.plot(steps[here & ~lost], heights[here & ~lost], **style)
        if lost.any():
            ax.plot(steps[lost], np.full(lost.sum(), 0.97), transform=ax.get_xaxis_transform(), **style)
