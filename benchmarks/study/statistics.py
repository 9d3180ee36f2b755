"""Paired comparisons over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Paired:
    """How one arm's losses compare with another's, seed by seed.

    Attributes:
        n: Seeds.
        ratio: Median of ours/theirs.
        worst: Largest of them.
        difference: Mean of ours − theirs.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        p: Of the paired t-test on the logarithms of the losses, two-sided; 1 where it cannot be computed.
    """

    n: int
    ratio: float
    worst: float
    difference: float
    low: float
    high: float
    p: float


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide seed by seed; a run that diverged is infinitely worse than one that did not, and equal to another."""
    return [
        1.0 if math.isinf(our) and math.isinf(their) else math.inf if math.isinf(our) else our / their
        for our, their in zip(ours, theirs, strict=True)
    ]


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """Compare losses that belong together by seed.

    Args:
        ours: Positive losses, infinity for a run that diverged.
        theirs: Likewise, of the same seeds.

    Returns:
        The comparison. Intervals need finite losses and two seeds, and are not numbers otherwise.

    Raises:
        ValueError: If there are no seeds, or not the same number.

    Example:
        >>> paired([1.0, 2.0, 4.0], [2.0, 2.0, 2.0]).ratio
        1.0
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"as many losses of one arm as of the other are needed, got {len(ours)} and {len(theirs)}")
    quotients = ratios(ours, theirs)
    differences = np.subtract(ours, theirs) if np.isfinite([*ours, *theirs]).all() else np.array([math.nan])
    low = high = math.nan
    p = 1.0
    if len(differences) > 1 and np.ptp(differences) > 0:
        found = stats.bootstrap(
            (differences,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method="percentile",
            rng=np.random.default_rng(0),
        )  # fmt: skip
        low, high = (float(end) for end in found.confidence_interval)
        p = float(stats.ttest_rel(np.log(ours), np.log(theirs)).pvalue)
    elif len(differences) > 1:
        low = high = float(differences[0])
    return Paired(
        len(ours), float(np.median(quotients)), max(quotients), float(differences.mean()), low, high,
        p if math.isfinite(p) else 1.0,
    )  # fmt: skip


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for how many there are: p_(i) ← max over j ≤ i of min(1, (m − j + 1)·p_(j)).

    Source: Holm 1979, Scandinavian Journal of Statistics 6.

    Args:
        p: Of all comparisons of a family.

    Returns:
        Corrected ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p, dtype=float)[order]))
    return [float(value) for value in corrected]
