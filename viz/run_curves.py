"""A curve over a run, with a dot that moves along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from .decisions import HasHistory, rates_at_decisions, read_decisions
from .scale import log_axis, ratio
from .style import Theme, dress, open_frame

WIDE = 8.0  # where the middle half of the values spans more than this factor, a logarithmic axis reads better


@dataclass(frozen=True, eq=False)
class Curve:
    """Values over optimizer steps.

    Attributes:
        steps: Shape (n,), ascending.
        values: Shape (n,), not necessarily finite.
        name: What they are.
        held: Whether a value holds until the next, as a rate does, instead of changing in between.
    """

    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    name: str
    held: bool


def read_curve(
    data: ArrayLike | tuple[ArrayLike, ArrayLike] | HasHistory, times: NDArray[np.float64], name: str
) -> Curve:
    """Read a curve.

    Args:
        data: One value for each checkpoint, a pair (steps, values), or a scheduler with a history, whose first group
            counts.
        times: Steps of the checkpoints, shape (T,).
        name: What the values are: "loss" or "learning rate".

    Returns:
        The curve.

    Raises:
        ValueError: If lengths differ, steps descend, or there is no finite value.

    Example:
        >>> read_curve([3.0, 2.0], np.array([0.0, 50.0]), "loss").steps.tolist()
        [0.0, 50.0]
    """
    if isinstance(data, HasHistory):
        decisions = read_decisions(data)
        if not decisions:
            raise ValueError("the scheduler's history is empty, because nothing was measured yet; pass its rates")
        steps, table = rates_at_decisions(decisions)
        return Curve(steps, table[:, 0], name, held=True)
    if isinstance(data, tuple) and len(data) == 2 and np.ndim(data[0]) == 1:
        steps, values = (np.asarray(part, dtype=np.float64) for part in data)
    else:
        steps, values = times, np.asarray(data, dtype=np.float64)
    if values.ndim != 1 or steps.shape != values.shape or len(values) == 0:
        raise ValueError(
            f"a {name} is needed for each of the {len(times)} checkpoints, or a pair (steps, values) of equal lengths, "
            f"got {steps.shape} steps and {values.shape} values"
        )
    if not (np.diff(steps) >= 0).all():
        raise ValueError(f"the steps of the {name} must ascend")
    if not np.isfinite(values).any():
        raise ValueError(f"none of the {len(values)} values of the {name} is finite, so there is nothing to draw")
    return Curve(steps, values, name, held=name == "learning rate")


def draw_curve(
    ax: Axes, curve: Curve, times: NDArray[np.float64], theme: Theme, xlabel: str
) -> Callable[[float], None]:
    """Draw a curve.

    Args:
        ax: Where.
        curve: What.
        times: Steps that the dot will be moved to.
        theme: Colours and sizes.
        xlabel: What the steps are.

    Returns:
        A function that moves the dot to a step.
    """
    dress(ax, theme)
    open_frame(ax)
    finite = np.isfinite(curve.values)
    look: dict[str, Any] = {"drawstyle": "steps-post"} if curve.held else {}
    ax.plot(curve.steps, np.where(finite, curve.values, np.nan), color=theme.series[0], linewidth=theme.line, **look)
    if (curve.values[finite] > 0).all() and ratio(curve.values, 0.5) > WIDE:
        log_axis(ax, curve.values)
    else:
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
    first, last = min(curve.steps[0], times[0]), max(curve.steps[-1], times[-1])
    air = 0.03 * (last - first) or 1.0
    ax.set(xlim=(first - air, last + air), xlabel=xlabel, ylabel=curve.name)
    guide = ax.axvline(times[0], color=theme.muted, linewidth=theme.hair, zorder=1)
    (dot,) = ax.plot([], [], "o", markersize=5, color=theme.accent, zorder=3, clip_on=False)

    def move(step: float) -> None:
        guide.set_xdata([step, step])
        if curve.held:
            index = max(int(np.searchsorted(curve.steps, step, side="right")) - 1, 0)
            value = float(curve.values[index])
        else:
            value = float(np.interp(step, curve.steps[finite], curve.values[finite]))
        dot.set_data([step], [value])

    return move
