"""How an arm compares with another over all workloads: one number, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .outcomes import by_seed, common
from .plan import Study
from .statistics import LEVEL, RESAMPLES, ratios


@dataclass(frozen=True)
class Pooled:
    """A ratio of losses over workloads and seeds.

    Attributes:
        ratio: Geometric mean over workloads, each the geometric mean over its seeds; infinite if a run diverged.
        low: Lower end of the 95 % percentile bootstrap interval, in which seeds are drawn within each workload.
        high: Upper end.
        medians: By workload: the median over seeds.
        lower: On how many workloads that is below 1.
        diverged: Runs of the arm that diverged where those of the other did not.
    """

    ratio: float
    low: float
    high: float
    medians: dict[str, float]
    lower: int
    diverged: int


def pooled(study: Study, arm: str, against: str, share: float = 1.0) -> Pooled | None:
    """Compare two arms over the workloads on which both have finished seeds.

    The intervals are about other seeds of the same workloads, not about other workloads.

    Args:
        study: What is compared.
        arm: Name.
        against: Name of the other.
        share: Of the budget.

    Returns:
        The comparison, or None without runs.
    """
    logs, medians = {}, {}
    for workload in study.workloads:
        pair = common(by_seed(study, workload, arm, share), by_seed(study, workload, against, share))
        if pair[0]:
            quotients = ratios(*pair)
            logs[workload] = np.log(quotients)
            medians[workload] = float(np.median(quotients))
    if not logs:
        return None
    lower = sum(value < 1 for value in medians.values())
    diverged = sum(int(np.isposinf(values).sum()) for values in logs.values())
    if diverged:
        return Pooled(math.inf, math.nan, math.nan, medians, lower, diverged)
    stream = np.random.default_rng(0)
    drawn = [values[stream.integers(len(values), size=(RESAMPLES, len(values)))].mean(1) for values in logs.values()]
    low, high = np.exp(np.quantile(np.mean(drawn, 0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    ratio = math.exp(np.mean([values.mean() for values in logs.values()]))
    return Pooled(ratio, float(low), float(high), medians, lower, 0)
