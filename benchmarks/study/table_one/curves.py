"""Accuracy, loss and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lrscape import viz

from ..figures import finish
from ..plan import Runs
from ..records import Record
from .protocol import ARMS, Table
from .readings import runs_of

PANEL = (3.2, 2.5)
EARLY, MARGIN = 4, 0.05  # the first of four quarters does not decide the limits, as differences at the end are small
LABELS = {"accuracy": "test accuracy, %", "loss": "test loss", "rate": "learning rate"}


def draw(tables: Sequence[Table], runs: Runs, target: Path) -> Path | None:
    """Draw means and bands over seeds.

    Args:
        tables: The plans; each is a row of panels, if it has runs.
        runs: Finished ones.
        target: The file.

    Returns:
        The file, or None if there is nothing to draw.
    """
    rows = [(table, found) for table in tables if (found := by_arm(table, runs))]
    if not rows:
        return None
    figure = Figure(figsize=(PANEL[0] * len(LABELS), PANEL[1] * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), len(LABELS), squeeze=False)
    for (table, found), line in zip(rows, axes, strict=True):
        for name, ax in zip(LABELS, line, strict=True):
            panel(ax, found, name)
            ax.set_title(f"CIFAR-{table.classes}", fontsize=9)
    return finish(figure, target)


def by_arm(table: Table, runs: Runs) -> dict[str, list[Record]]:
    """Give the runs of the arms that have any."""
    return {arm: found for arm in table.arms if (found := list(runs_of(table, arm, runs).values()))}


def panel(ax: Axes, found: dict[str, list[Record]], name: str) -> None:
    """Draw one quantity of all arms; legend and titles are the figure's."""
    groups = {ARMS[arm].title: stacked(runs, name) for arm, runs in found.items()}
    drawn = {title: pair for title, pair in groups.items() if np.isfinite(pair[1]).all(axis=0).any()}
    if drawn:
        viz.bands(drawn, ax, spread="deviation", xlabel="epoch", label=LABELS[name])
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        if name != "rate":
            later = np.concatenate([values[:, len(epochs) // EARLY :].ravel() for epochs, values in drawn.values()])
            low, high = np.nanmin(later), np.nanmax(later)
            if low < high:
                ax.set_ylim(low - MARGIN * (high - low), high + MARGIN * (high - low))


def stacked(runs: Sequence[Record], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give epochs (n,) and values (runs, n); not a number where a run had ended or its loss was not finite."""
    length = max(len(run["curves"][name]) for run in runs)
    values = np.full((len(runs), length), np.nan)
    for row, run in zip(values, runs, strict=True):
        curve = run["curves"][name]
        row[: len(curve)] = [np.nan if value is None else value for value in curve]
    return np.arange(1.0, length + 1), 100 * values if name == "accuracy" else values
