"""Whether numbers of a probe foretell the validation loss, out of sample, and what others add to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .statistics import LEVEL, RESAMPLES
from .topology_rows import Rows

Floats = NDArray[np.float64]

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of scikit-learn's C: from little learnt to next to no penalty
SURE = 1e-6  # no probability is closer to 0 or 1, so that a single surprise costs 20 bits at most


@dataclass(frozen=True)
class Interval:
    """A number and its bootstrap interval.

    Attributes:
        value: Of the runs themselves.
        low: Lower end of the 95 % percentile interval over runs.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Gain:
    """What added numbers are worth, out of sample.

    Attributes:
        without: Mean bits that the model without them pays per probe, −log₂ of the probability of what happened.
        extended: Mean bits of the model with them.
        bits: The difference, without − extended; positive if they help.
        area_without: Area under the ROC curve without them.
        area: What they add to it.
        workloads: The difference in bits of each workload.
    """

    without: float
    extended: float
    bits: Interval
    area_without: float
    area: Interval
    workloads: dict[str, Interval]


def learn(x: Floats, lower: NDArray[np.bool_], weights: Floats, strength: float, new: Floats) -> Floats:
    """Fit a logistic model to standardised numbers, and predict.

    Args:
        x: Numbers to learn from, shape (N, k); without columns the base rate is what is learnt.
        lower: What happened, shape (N,).
        weights: Shape (N,), not negative.
        strength: scikit-learn's C.
        new: Numbers to predict from, shape (M, k).

    Returns:
        Probabilities, shape (M,).
    """
    there = weights > 0
    x, lower, weights = x[there], lower[there], weights[there]
    if x.shape[1] == 0 or lower.all() or not lower.any():
        share = (weights[lower].sum() + 1) / (weights.sum() + 2)  # the rule of succession: never 0 or 1
        return np.full(len(new), float(share))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
    model.fit(x, lower, logisticregression__sample_weight=weights)
    return np.asarray(model.predict_proba(new)[:, 1], dtype=np.float64)


def held_out(x: Floats, given: int, lower: NDArray[np.bool_], weights: Floats, groups: NDArray[Any]) -> Floats:
    """Predict each group by a model that has not seen it.

    The penalty, and whether the added numbers are used at all, is chosen in the same way among the groups that the
    model may see: numbers that are worth nothing can be ignored.

    Args:
        x: Numbers, shape (N, k): first those that are given, then those that are added.
        given: How many are given.
        lower: What happened, shape (N,).
        weights: Shape (N,), of mean 1.
        groups: Shape (N,).

    Returns:
        Probabilities, shape (N,).
    """
    found = np.empty(len(lower))
    for group in np.unique(groups):
        out, seen = groups == group, groups != group
        columns, strength = choose(x[seen], given, lower[seen], weights[seen], groups[seen])
        found[out] = learn(x[seen, :columns], lower[seen], weights[seen], strength, x[out, :columns])
    return found


def choose(x: Floats, given: int, lower: NDArray[np.bool_], weights: Floats, groups: NDArray[Any]) -> tuple[int, float]:
    """Choose how many numbers to use and scikit-learn's C, by the log loss on held-out groups."""
    every = sorted({given, x.shape[1]})
    candidates = [(columns, strength) for columns in every for strength in STRENGTHS]
    if len(np.unique(groups)) < 2 or x.shape[1] == 0:
        return candidates[-1]
    paid = []
    for columns, strength in candidates:
        total = 0.0
        for group in np.unique(groups):
            out, seen = groups == group, groups != group
            p = learn(x[seen, :columns], lower[seen], weights[seen], strength, x[out, :columns])
            total += float(weights[out] @ bits(p, lower[out]))
        paid.append(total)
    return candidates[int(np.argmin(paid))]


def balance(rows: Rows) -> Floats:
    """Weigh probes so that in each workload both outcomes count alike.

    Args:
        rows: The probes.

    Returns:
        Shape (N,), of mean 1; zero throughout a workload with one outcome only, and throughout if there is no other.
    """
    weights = np.zeros(len(rows))
    for workload in rows.workloads:
        here = rows.workload == workload
        classes = [here & rows.lower, here & ~rows.lower]
        if all(one.any() for one in classes):
            for one in classes:
                weights[one] = here.sum() / one.sum()
    return weights / weights.mean() if weights.any() else weights


def bits(probability: Floats, lower: NDArray[np.bool_]) -> Floats:
    """Give −log₂ of the probability that was given to what happened.

    Example:
        >>> bits(np.array([0.5, 0.25]), np.array([True, False])).round(3).tolist()
        [1.0, 0.415]
    """
    p = np.clip(probability, SURE, 1 - SURE)
    result: Floats = -np.log2(np.where(lower, p, 1 - p))
    return result


def resample(rows: Rows, times: int) -> Floats:
    """Draw runs with replacement, as many of each workload as there are.

    Args:
        rows: The probes.
        times: Resamples.

    Returns:
        How often each run was drawn, shape (times, runs), the runs in ascending order.
    """
    generator = np.random.default_rng(0)
    runs, first = np.unique(rows.run, return_index=True)
    counts = np.zeros((times, len(runs)))
    for workload in rows.workloads:
        here = np.flatnonzero(rows.workload[first] == workload)
        counts[:, here] = generator.multinomial(len(here), np.full(len(here), 1 / len(here)), size=times)
    return counts


def interval(value: float, resampled: Floats) -> Interval:
    """Take the percentile interval of resampled numbers."""
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def mean_difference(rows: Rows, difference: Floats, weights: Floats) -> Interval:
    """Average a difference over probes, with an interval from whole runs: probes of a run are not independent."""
    if not weights.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    _, at = np.unique(rows.run, return_inverse=True)
    sums, totals = (np.bincount(at, one) for one in (weights * difference, weights))
    counts = resample(rows, RESAMPLES)
    with np.errstate(invalid="ignore"):  # a resample in which nothing has weight
        return interval(float(sums.sum() / totals.sum()), (counts @ sums) / (counts @ totals))


def areas(rows: Rows, probability: Floats, weights: Floats, counts: Floats) -> Floats:
    """Compute areas under the ROC curve, the chance that a probe before a fall gets the higher probability.

    Whether it does is summed over the pairs of probes of each pair of runs once, for all resamples.

    Args:
        rows: The probes.
        probability: Shape (N,).
        weights: Shape (N,).
        counts: How often each run counts, shape (resamples, runs).

    Returns:
        Shape (resamples,); not a number where only one outcome has weight.
    """
    runs, at = np.unique(rows.run, return_inverse=True)
    falls, rises = np.eye(len(runs))[at] * np.stack([weights * rows.lower, weights * ~rows.lower])[:, :, None]
    above = np.sign(probability[:, None] - probability[None, :]) / 2 + 0.5
    right = falls.T @ above @ rises
    with np.errstate(invalid="ignore"):
        found: Floats = ((counts @ right) * counts).sum(1) / ((counts @ falls.sum(0)) * (counts @ rises.sum(0)))
    return found


def gain(rows: Rows, without: Floats, extended: Floats, weights: Floats) -> Gain:
    """Compare two models' predictions.

    Args:
        rows: The probes.
        without: Probabilities that the validation loss falls, shape (N,).
        extended: Those of the model with added numbers.
        weights: Shape (N,).

    Returns:
        The comparison.
    """
    before, after = bits(without, rows.lower), bits(extended, rows.lower)
    counts = resample(rows, RESAMPLES)
    once = np.ones((1, counts.shape[1]))
    first, second = (areas(rows, p, weights, np.concatenate([once, counts])) for p in (without, extended))
    parts = {}
    for workload in rows.workloads:
        here = rows.workload == workload
        parts[workload] = mean_difference(rows.where(here), (before - after)[here], weights[here])
    return Gain(
        without=float(np.average(before, weights=weights)),
        extended=float(np.average(after, weights=weights)),
        bits=mean_difference(rows, before - after, weights),
        area_without=float(first[0]),
        area=interval(float(second[0] - first[0]), (second - first)[1:]),
        workloads=parts,
    )


class Predictions:
    """Out-of-sample predictions of models on the same probes, each computed once.

    Args:
        rows: The probes.
        groups: What is held out together, shape (N,).
    """

    def __init__(self, rows: Rows, groups: NDArray[Any]) -> None:
        self._rows, self._groups = rows, groups
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...], bool, bool], Floats] = {}

    def of(
        self, without: Sequence[str], added: Sequence[str] = (), balanced: bool = False, always: bool = False
    ) -> Floats:
        """Give the predictions of the model with these numbers; without any, of the base rate."""
        key = (tuple(without), tuple(added), balanced, always)
        if key not in self._known:
            rows = self._rows
            weights = balance(rows) if balanced else np.ones(len(rows))
            x = rows.matrix([*without, *added])
            given = x.shape[1] if always else len(without)
            self._known[key] = held_out(x, given, rows.lower, weights, self._groups)
        return self._known[key]

    def gain(self, without: Sequence[str], added: Sequence[str], balanced: bool = False, always: bool = False) -> Gain:
        """Say what added numbers are worth.

        Args:
            without: Names of the numbers that both models have.
            added: Names of those that one has in addition.
            balanced: Whether both outcomes count alike in each workload, in fitting and in judging.
            always: Whether the added numbers have to be used, rather than if that is better in the training part.

        Returns:
            The comparison.
        """
        weights = balance(self._rows) if balanced else np.ones(len(self._rows))
        after = self.of(without, added, balanced, always)
        return gain(self._rows, self.of(without, (), balanced), after, weights)
