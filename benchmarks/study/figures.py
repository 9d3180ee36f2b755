"""Figures of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from lrscape import viz

from .outcomes import SHARES, by_seed, middle
from .plan import Study
from .rate_tables import at_wrong_rates

PANEL = (3.0, 2.6)


def panels(study: Study) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with a panel for each workload."""
    columns = min(3, len(study.workloads))
    rows = -(-len(study.workloads) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(study.workloads) :]:
        ax.remove()
    for ax, name in zip(axes, study.workloads, strict=False):
        ax.set_title(name, fontsize=9)
        ax.tick_params(which="both", labelsize=7)
        ax.grid(alpha=0.25, linewidth=0.5)
    return figure, dict(zip(study.workloads, axes, strict=False))


class Decimals(LogFormatter):
    """Write .06 and not 6e-2, where the logarithmic axis has room for a number."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Write one number, or nothing."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain(ax: Axes) -> None:
    """Write the losses as plain numbers, whatever their range."""
    ax.yaxis.set_major_formatter(Decimals())
    ax.yaxis.set_minor_formatter(Decimals(minor_thresholds=(1.5, 0.6)))


def finish(figure: Figure, target: Path) -> Path:
    """Add one legend for all panels, and save."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        entries |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4, fontsize=7)
    return viz.save(figure, target, dpi=150)


def styles(study: Study) -> dict[str, dict[str, Any]]:
    """Give each essential arm a colour, ours the strongest line."""
    arms = [arm for arm in study.arms if study.entries[arm].essential]
    return {
        arm: {
            "color": "black" if arm == "valley" else f"C{place}",
            "linewidth": 2.0 if arm == "valley" else 1.2,
            "zorder": 3 if arm == "valley" else 2,
            "label": study.entries[arm].title,
        }
        for place, arm in enumerate(arms)
    }


def draw_losses(study: Study, target: Path) -> Path:
    """Draw test losses at the read-off points, medians and ranges over seeds, as far as runs are finite."""
    figure, axes = panels(study)
    for workload, ax in axes.items():
        for arm, style in styles(study).items():
            found = {share: list(by_seed(study, workload, arm, share).values()) for share in SHARES}
            finite = {share: v for share, v in found.items() if v and max(v) < float("inf")}
            if finite:
                middles = [middle(values) for values in finite.values()]
                below = [m - min(v) for m, v in zip(middles, finite.values(), strict=True)]
                above = [max(v) - m for m, v in zip(middles, finite.values(), strict=True)]
                at = [100 * share for share in finite]
                ax.errorbar(at, middles, [below, above], marker="o", markersize=3, capsize=2, **style)
        ax.set(xticks=[100 * share for share in SHARES], yscale="log")
        plain(ax)
        ax.set_xlabel("% of the budget", fontsize=8)
        ax.set_ylabel("test loss", fontsize=8)
    return finish(figure, target)


def draw_sensitivity(study: Study, target: Path) -> Path:
    """Draw test losses against the factor on the tuned rate; arms that take no rate are level lines."""
    figure, axes = panels(study)
    for workload, ax in axes.items():
        for arm, style in styles(study).items():
            if study.entries[arm].sensitivity:
                points = at_wrong_rates(study, study.cell(workload, arm))
                finite = {factor: value for factor, value in points.items() if value < float("inf")}
                if finite:
                    ax.plot(list(finite), list(finite.values()), marker="o", markersize=3, **style)
            elif values := by_seed(study, workload, arm).values():
                ax.axhline(middle(list(values)), **style)
        ax.set(xscale="log", yscale="log")
        plain(ax)
        ax.set_xlabel("factor on the tuned rate", fontsize=8)
        ax.set_ylabel("test loss", fontsize=8)
    return finish(figure, target)
