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
TICKS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
LEAST, MOST = 0.4, 4.0  # what lies beyond is drawn at the edge
ROOM = 1.15  # beside the outermost mark


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
    # Side by side within a line, so that marks of equal ratios do not hide each other
    heights = {name: 0.5 * (i / max(1, len(study.workloads) - 1) - 0.5) for i, name in enumerate(study.workloads)}
    for number, (workload, height) in enumerate(heights.items()):
        points = [
            (min(max(entry.medians[workload], LEAST), MOST), place + height)
            for place, entry in enumerate(shown.values())
            if workload in entry.medians
        ]
        if points:
            ax.plot(
                *zip(*points, strict=True), MARKERS[number % len(MARKERS)], color=f"C{number}", markersize=3.5,
                label=workload, linestyle="none", zorder=4,
            )  # fmt: skip
    for place, entry in enumerate(shown.values()):
        if math.isfinite(entry.ratio):
            ax.plot([entry.low, entry.high], [place, place], color="0.45", linewidth=4, solid_capstyle="butt", zorder=2)
            ax.plot(entry.ratio, place, "|", color="black", markersize=9, markeredgewidth=2, zorder=3)
        else:
            ax.annotate(
                f"{entry.diverged} diverged", (1, place), (-3, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="center", fontsize=6.5,
            )  # fmt: skip
    low, high = ax.get_xlim()
    low, high = max(min(low, 1 / ROOM), LEAST / ROOM), min(max(high, ROOM), MOST * ROOM)
    ax.set(xscale="log", yticks=range(len(shown)), ylim=(len(shown) - 0.4, -0.6), xlim=(low, high))
    ax.set_yticklabels([study.entries[arm].title for arm in shown], fontsize=7)
    ax.axvline(1, color="black", linewidth=0.8, zorder=1)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="x", labelsize=7)
    ax.grid(axis="x", alpha=0.25, linewidth=0.5)
    others = {study.entries[study.entries[arm].against].title for arm in shown}
    other = f"with {others.pop()} rate" if others == {"constant"} else "of the arm that is changed"
    ax.set_xlabel(f"test loss / test loss {other} (left is better)", fontsize=8)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=7, frameon=False, columnspacing=1)
    return viz.save(figure, target, dpi=150)
