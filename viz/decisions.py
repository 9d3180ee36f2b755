"""What a trace reads from a scheduler: its decisions, as numbers over steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULTS = ("curvature", "sharpness")


class Decision(Protocol):
    """One observation of a scheduler; ``lrscape.schedulers.Decision`` fits."""

    @property
    def step(self) -> int:
        """Optimizer steps taken before it."""
        ...

    @property
    def measurement(self) -> Mapping[str, float]:
        """Measured numbers by name."""
        ...

    @property
    def reason(self) -> str:
        """Why the rate changed or stayed, in a few words."""
        ...

    @property
    def rates(self) -> Sequence[float]:
        """Learning rate of each group afterwards."""
        ...


@runtime_checkable
class HasHistory(Protocol):
    """A scheduler that remembers its decisions."""

    @property
    def history(self) -> Iterable[Decision]:
        """The decisions, oldest first."""
        ...


def read_decisions(scheduler: HasHistory | Iterable[Decision]) -> list[Decision]:
    """Find the decisions.

    Args:
        scheduler: A scheduler with a history, or decisions.

    Returns:
        The decisions in order of their steps.

    Raises:
        TypeError: If it is neither.
    """
    history = scheduler.history if isinstance(scheduler, HasHistory) else scheduler
    if not isinstance(history, Iterable):
        raise TypeError(
            f"scheduler must have a history or be an iterable of decisions, got {type(scheduler).__name__}; pass an "
            "lrscape scheduler or its .history"
        )
    decisions = list(history)
    for decision in decisions:
        lacking = [name for name in ("step", "measurement", "reason", "rates") if not hasattr(decision, name)]
        if lacking:
            raise TypeError(
                f"each decision must have step, measurement, reason and rates, but a {type(decision).__name__} has no "
                f"{', '.join(lacking)}"
            )
    return sorted(decisions, key=lambda decision: decision.step)


def rates_at_decisions(decisions: Sequence[Decision]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Collect the rates that are known from the decisions alone.

    Args:
        decisions: In order of their steps.

    Returns:
        Steps of shape (n,), and rates of shape (n, groups), NaN where a group did not exist yet.
    """
    groups = max(len(decision.rates) for decision in decisions)
    rates = np.full((len(decisions), groups), np.nan)
    for row, decision in zip(rates, decisions, strict=True):
        row[: len(decision.rates)] = [float(rate) for rate in decision.rates]
    return np.array([decision.step for decision in decisions], dtype=np.float64), rates


def recorded_rates(rates: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check rates that the user recorded at every step.

    Args:
        rates: Shape (steps,) or (steps, groups).

    Returns:
        Steps of shape (n,), and rates of shape (n, groups).

    Raises:
        ValueError: If the shape is another.
    """
    array = np.asarray(rates, dtype=np.float64)
    table = array[:, None] if array.ndim == 1 else array
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"rates must have shape (steps,) or (steps, groups), one row per step, got {array.shape}")
    return np.arange(len(table), dtype=np.float64), table


def choose_measurement(decisions: Sequence[Decision], wanted: str | None) -> str | None:
    """Choose the measured number to show.

    Args:
        decisions: The decisions.
        wanted: Its name; "auto" for the curvature, else the sharpness, else the first; None for none.

    Returns:
        Its name, or None.

    Raises:
        ValueError: If no decision has a number of that name.
    """
    known = list(dict.fromkeys(name for decision in decisions for name in decision.measurement))
    if wanted is None or (wanted == "auto" and not known):
        return None
    if wanted == "auto":
        return next((name for name in DEFAULTS if name in known), known[0])
    if wanted not in known:
        raise ValueError(
            f"measurement {wanted!r} was not measured; choose one of: {', '.join(map(repr, known)) or 'none'}"
        )
    return wanted


def measured_values(decisions: Sequence[Decision], name: str) -> NDArray[np.float64]:
    """Collect a measured number.

    Args:
        decisions: The decisions.
        name: Of the number.

    Returns:
        Shape (n,), NaN for a decision that did not measure it.
    """
    return np.array([float(decision.measurement.get(name, float("nan"))) for decision in decisions])
