"""Tables and figure of the curvature paper's experiments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrscape import viz

from .homotopy_arms import ARMS
from .homotopy_problems import DEPTHS, EXPERIMENTS, Experiment
from .residual_vs_plain import interval

APART = 1.03  # from arm to arm, so that their ranges do not hide each other
ALMOST = 0.9  # of the largest rate: there a warmup is over
SHOWN = (
    "constant",
    "warmup cosine",
    "homotopy",
    "near edge",
    "homotopy cosine",
    "curvature warmup",
    "kappa",
    "adam",
)
STYLES: dict[str, dict[str, Any]] = {
    arm: {"color": f"C{i}", "linestyle": "-" if ARMS[arm].ours else "--"} for i, arm in enumerate(SHOWN)
}

Entry = dict[str, Any]


class Finished(Protocol):
    """Anything that knows finished runs and the rates of an experiment."""

    entries: dict[Any, Entry]

    def key(self, experiment: Experiment, workload: str, arm: str, rate: float, seed: int) -> Any:
        """Name a run."""

    def tuned(self, experiment: Experiment, arm: str) -> float | None:
        """Give a tuned rate."""


def cell(
    runs: Finished, experiment: Experiment, workload: str, arm: str, multiple: float, seeds: Sequence[int]
) -> list[Entry]:
    """Collect the runs of an arm at a multiple of its tuned rate."""
    rate = runs.tuned(experiment, arm)
    if rate is None:
        return []
    keys = [runs.key(experiment, workload, arm, rate * multiple, seed) for seed in seeds]
    return [runs.entries[key] for key in keys if key in runs.entries]


def mean_of(entries: Sequence[Entry], name: str) -> str:
    """Write the mean of a quantity with its interval, and how many runs did not end finite."""
    values = [entry[name] for entry in entries if entry[name] is not None and not entry["diverged"]]
    lost = sum(entry["diverged"] for entry in entries)
    text = interval(values) if values else "–"
    return f"{text}, {lost} diverged" if lost else text


def risen(entry: Entry) -> tuple[float, float, int]:
    """Describe how a rate starts.

    Args:
        entry: A run.

    Returns:
        Its first rate and the largest it takes, and the step at which nine tenths of that are first reached.
    """
    rates = np.array([np.nan if rate is None else rate for rate in entry["rates"]])
    steps = np.unique(np.linspace(1, entry["steps_done"], len(rates)).round().astype(int))
    top = float(np.nanmax(rates))
    return entry["first_rate"], top, int(steps[np.argmax(rates >= ALMOST * top)])


def print_tables(runs: Finished, experiment: Experiment, seeds: Sequence[int]) -> None:
    """Print what each arm reaches, and how the measured rates start."""
    print(f"\n{experiment.title}: mean, 95 % interval over seeds")
    print(
        "| workload | arm | × tuned | rate | test loss | test accuracy | spikes | spread | steps to 90 % | overhead |"
    )
    print("|" + "---|" * 10)
    for workload in experiment.workloads:
        for arm in experiment.arms:
            for multiple in experiment.multiples:
                found = cell(runs, experiment, workload, arm, multiple, seeds)
                if found:
                    print(row(workload, arm, multiple, found))
    print("\n| workload | arm | × tuned | first rate | largest rate | at step | sharpness or κ, first and last probe |")
    print("|" + "---|" * 7)
    for workload in experiment.workloads:
        for arm in [arm for arm in experiment.arms if ARMS[arm].ours]:
            for multiple in experiment.multiples:
                found = cell(runs, experiment, workload, arm, multiple, seeds)
                if found:
                    print(beginning(workload, arm, multiple, found))


def row(workload: str, arm: str, multiple: float, found: Sequence[Entry]) -> str:
    """Write what an arm reaches."""
    shares = [100 * entry["probing"] / (entry["seconds"] - entry["probing"]) for entry in found]
    cost = f"{interval(shares)} %" if ARMS[arm].ours else "–"
    reached = [entry["reached"] for entry in found if entry["reached"] is not None]
    cells = [
        workload, ARMS[arm].title, f"{multiple:g}", f"{found[0]['rate']:.3g}", mean_of(found, "test_loss"),
        mean_of(found, "test_accuracy"), interval([entry["spikes"] for entry in found]), mean_of(found, "spread"),
        f"{interval(reached)} ({len(reached)} of {len(found)})" if reached else "–", cost,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def beginning(workload: str, arm: str, multiple: float, found: Sequence[Entry]) -> str:
    """Write how a measured rate starts: geometric means over seeds."""
    starts = [risen(entry) for entry in found]
    first, top = (math.exp(float(np.mean(np.log([start[i] for start in starts])))) for i in (0, 1))
    measured = [[value for value in entry["curvature"] if value is not None and value > 0] for entry in found]
    ends = [math.exp(float(np.mean([math.log(m[i]) for m in measured if m] or [math.nan]))) for i in (0, -1)]
    steps = [float(start[2]) for start in starts]
    cells = [
        workload, ARMS[arm].title, f"{multiple:g}", f"{first:.3g}", f"{top:.3g}", interval(steps),
        f"{ends[0]:.3g} → {ends[1]:.3g}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def draw(runs: Finished, seeds: Sequence[int], target: Path) -> Path:
    """Draw the four experiments.

    Args:
        runs: Finished ones; what is missing is left out.
        seeds: Whose.
        target: Where; .png, .pdf or .svg.

    Returns:
        The path.
    """
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).ravel()
    draw_curves(panels[0], runs, EXPERIMENTS["quadratic"], "quadratic", 1.0, seeds, "losses")
    panels[0].set(title="quadratic, tuned rates", ylabel="loss", yscale="log")
    draw_curves(panels[1], runs, EXPERIMENTS["transformer"], "transformer", 10.0, seeds, "rates")
    panels[1].set(title="transformer, 10 × the tuned rate", ylabel="learning rate", yscale="log")
    transformer = EXPERIMENTS["transformer"]
    at = {multiple: ("transformer", multiple) for multiple in transformer.multiples}
    draw_losses(panels[2], runs, transformer, at, seeds)
    panels[2].set(title="transformer", xlabel="× tuned rate", xscale="log", ylabel="test loss")
    panels[2].set_xticks(transformer.multiples, labels=[f"{multiple:g}" for multiple in transformer.multiples])
    panels[2].minorticks_off()
    draw_losses(panels[3], runs, EXPERIMENTS["depth"], {d: (f"depth-{d}", 3.0) for d in DEPTHS}, seeds)
    panels[3].set(title="depth, 3 × the tuned rate", xlabel="layers", xscale="log", ylabel="test loss")
    panels[3].set_xticks(DEPTHS, labels=[str(depth) for depth in DEPTHS])
    panels[3].minorticks_off()
    entries: dict[str, Any] = {}
    for ax in panels:
        ax.tick_params(which="both", labelsize=7)
        ax.title.set_fontsize(9)
        ax.xaxis.label.set_fontsize(8)
        ax.yaxis.label.set_fontsize(8)
        ax.grid(alpha=0.25, linewidth=0.5)
        entries |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4, fontsize=7)
    return viz.save(figure, target, dpi=150)


def draw_curves(
    ax: Axes, runs: Finished, experiment: Experiment, workload: str, multiple: float, seeds: Sequence[int], name: str
) -> None:
    """Draw a curve of each arm: the median over seeds."""
    for arm in [arm for arm in experiment.arms if arm in STYLES]:
        found = cell(runs, experiment, workload, arm, 1.0 if arm == "adam" else multiple, seeds)
        whole = [entry for entry in found if not entry["diverged"]]
        if whole:
            table = np.array([[np.nan if v is None else v for v in entry[name]] for entry in whole])
            steps = np.linspace(1, whole[0]["steps_done"], table.shape[1])
            ax.plot(steps, np.median(table, 0), label=ARMS[arm].title, linewidth=1.2, **STYLES[arm])
    ax.set_xlabel("optimizer step")


def draw_losses(
    ax: Axes, runs: Finished, experiment: Experiment, at: dict[Any, tuple[str, float]], seeds: Sequence[int]
) -> None:
    """Draw test losses of each arm, medians and ranges over seeds; cells with a run that diverged are left out."""
    for place, arm in enumerate(arm for arm in experiment.arms if arm in STYLES):
        points: dict[float, list[float]] = {}
        for x, (workload, multiple) in at.items():
            found = cell(runs, experiment, workload, arm, multiple, seeds)
            if found and not any(entry["diverged"] or entry["test_loss"] is None for entry in found):
                points[x] = [entry["test_loss"] for entry in found]
        if points:
            middles = [float(np.median(values)) for values in points.values()]
            below = [m - min(v) for m, v in zip(middles, points.values(), strict=True)]
            above = [max(v) - m for m, v in zip(middles, points.values(), strict=True)]
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "capsize": 2, "linewidth": 1.2, **STYLES[arm]}
            ax.errorbar([x * APART**place for x in points], middles, [below, above], label=ARMS[arm].title, **style)
