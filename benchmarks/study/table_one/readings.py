"""What the finished runs say, by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

from scipy import stats

from ..plan import Runs
from ..records import Record
from .protocol import Table


def runs_of(table: Table, arm: str, runs: Runs) -> dict[int, Record]:
    """Give an arm's finished runs by seed."""
    found = {seed: runs.get(table.configuration(arm, seed)) for seed in table.seeds}
    return {seed: run for seed, run in found.items() if run is not None}


def last(run: Record, name: str) -> float:
    """Give the last value of a curve; infinity for a loss that is not finite."""
    value = run["curves"][name][-1]
    return math.inf if value is None else float(value)


def accuracies(table: Table, arm: str, runs: Runs) -> dict[int, float]:
    """Give final accuracies in percent by seed; of a run that diverged, that of the weights it was left with."""
    return {seed: 100 * last(run, "accuracy") for seed, run in runs_of(table, arm, runs).items()}


def with_deviation(values: Sequence[float], digits: int) -> str:
    """Write a mean, and the standard deviation (divided by n − 1) if there is one."""
    if not values:
        return "–"
    if math.isinf(max(values)):
        return f"diverged ({sum(map(math.isinf, values))} of {len(values)})"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def seconds(run: Record, part: str = "") -> float:
    """Give the time of a run or a part: processor time where the processor computes, wall-clock time elsewhere."""
    return float(run[f"{part}{'cpu' if run['device'] == 'cpu' else 'wall'}"])


def overhead(found: Sequence[Record]) -> float:
    """Give the median over runs of the scheduler's time over that of the rest of the run, in percent."""
    return median(100 * seconds(run, "arm_") / (seconds(run) - seconds(run, "arm_")) for run in found)


def against(table: Table, arm: str, other: str, runs: Runs) -> float | None:
    """Give the median over seeds of how much longer a step takes than another arm's, in percent; None without pairs."""
    ours, theirs = runs_of(table, arm, runs), runs_of(table, other, runs)
    pairs = [(ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys()]
    pairs = [(first, second) for first, second in pairs if first["device"] == second["device"]]
    ratios = [
        seconds(first) / first["steps_done"] / (seconds(second) / second["steps_done"]) for first, second in pairs
    ]
    return 100 * (median(ratios) - 1) if ratios else None


@dataclass(frozen=True)
class Difference:
    """How accuracies differ from those of another arm, seed by seed.

    Attributes:
        n: Seeds.
        mean: Percentage points.
        low: Lower end of the 95 % t-interval; not a number with a single seed.
        high: Upper end.
        p: Of the paired t-test on the accuracies, two-sided; not a number with a single seed.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float


def difference(table: Table, arm: str, other: str, runs: Runs) -> Difference | None:
    """Compare the final accuracies of two arms, paired by seed.

    Args:
        table: The plan.
        arm: Name.
        other: Name.
        runs: Finished ones.

    Returns:
        The comparison, or None if no seed has both.
    """
    ours, theirs = accuracies(table, arm, runs), accuracies(table, other, runs)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    average = mean(differences)
    if len(seeds) < 2:
        return Difference(1, average, math.nan, math.nan, math.nan)
    if max(differences) == min(differences):  # no spread, so the test has nothing to divide by
        return Difference(len(seeds), average, average, average, 1.0 if average == 0 else 0.0)
    found = stats.ttest_rel([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    low, high = found.confidence_interval()
    return Difference(len(seeds), average, float(low), float(high), float(found.pvalue))
