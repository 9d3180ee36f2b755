"""A figure of many comparisons: one line for each arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lrscape import viz

from .plan import Study
from .pooled import pooled

MARKERS = "osD^vP"
WIDTH, LINE = 6.5, 0.21
TICKS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
LEAST, MOST = 0.4, 4.0  # what lies beyond is drawn at the edge


def draw(study: Study, arms: Sequence[str], target: Path) -> Path | None:
    """Draw the ratio of test losses at the end of the budget: over all workloads with its interval, and on each.

    Args:
        study: What is compared.
        arms: Names, from the top.
        target: Where to.

    Returns:
        The file, or None if there is nothing to draw.
    """
    found = {arm: pooled(study, arm, study.entries[arm].against) for arm in arms}
    shown = {arm: entry for arm, entry in found.items() if entry is not None}
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, LINE * len(shown) + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    for place, entry in enumerate(shown.values()):
        for number, workload in enumerate(study.workloads):
            if workload in entry.medians:
                at = min(max(entry.medians[workload], LEAST), MOST)
                label = workload if place == 0 or workload not in ax.get_legend_handles_labels()[1] else None
                ax.plot(
                    at, place, MARKERS[number % len(MARKERS)], color=f"C{number}", markersize=3.5, alpha=0.75,
                    label=label, linestyle="none",
                )  # fmt: skip
        if math.isfinite(entry.ratio):
            ax.plot([entry.low, entry.high], [place, place], color="black", linewidth=2.5, zorder=3)
            ax.plot(entry.ratio, place, "|", color="black", markersize=9, markeredgewidth=2, zorder=3)
        else:
            ax.annotate(
                f"{entry.diverged} diverged", (1, place), (-3, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="center", fontsize=6.5,
            )  # fmt: skip
    titles = [study.entries[arm].title for arm in shown]
    ax.set(xscale="log", yticks=range(len(shown)), ylim=(len(shown) - 0.4, -0.6), xlim=(LEAST * 0.95, MOST * 1.05))
    ax.set_yticklabels(titles, fontsize=7)
    ax.axvline(1, color="grey", linewidth=0.8, zorder=0)
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", labelsize=7)
    ax.grid(axis="x", alpha=0.25, linewidth=0.5)
    others = sorted({study.entries[study.entries[arm].against].title for arm in shown})
    ax.set_xlabel(f"test loss / that of {' or '.join(others)}, left is better", fontsize=8)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), fontsize=7, frameon=False)
    return viz.save(figure, target, dpi=150)
