"""Means over random vectors, with their standard errors and a stop rule on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from .closure import accumulator
from .curvature_operator import CurvatureOperator
from .random_vectors import Kind, draw

FEWEST = 10  # samples before a standard error is trusted to stop


@dataclass(frozen=True, eq=False)
class Samples:
    """Independent samples of a quantity.

    Attributes:
        values: Shape (n,).
        settled: Whether the stop rule ended the sampling.
    """

    values: NDArray[np.float64]
    settled: bool

    @property
    def mean(self) -> float:
        """Their mean."""
        with np.errstate(invalid="ignore"):  # infinities of both signs
            return float(np.mean(self.values))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, s/√n; NaN for a single sample, or where one is not finite."""
        n = len(self.values)
        if n < 2 or not np.isfinite(self.values).all():
            return float("nan")
        return float(np.std(self.values, ddof=1) / np.sqrt(n))


def check_sampling(tolerance: float | None, max_hvps: int, fewest: int = 2) -> None:
    """Reject impossible rules.

    Args:
        tolerance: Relative standard error at which to stop, or None.
        max_hvps: Products at most.
        fewest: Fewest products that make sense.

    Raises:
        ValueError: If one is out of range.
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, or None to use all of max_hvps, got {tolerance}")
    if max_hvps < fewest:
        raise ValueError(f"max_hvps must be at least {fewest}, or there is no standard error, got {max_hvps}")


def sample(
    operator: CurvatureOperator,
    statistic: Callable[[Tensor, Tensor], Tensor],
    *,
    kind: Kind,
    tolerance: float | None,
    max_hvps: int,
    generator: torch.Generator,
) -> Samples:
    """Draw vectors until the mean of a statistic is known well enough.

    Args:
        operator: H.
        statistic: Of v and Hv, both of shape (k, P); k numbers.
        kind: Of random vectors.
        tolerance: Stop when the standard error is at most this share of the mean; None to use all of ``max_hvps``. The
            rule is looked at every ten samples.
        max_hvps: Products at most.
        generator: For the vectors.

    Returns:
        The samples.
    """
    values = np.empty(0)
    while len(values) < max_hvps:
        vectors = draw(operator, min(FEWEST, max_hvps - len(values)), generator, kind)
        fresh = statistic(vectors, operator.matmat(vectors)).cpu().numpy()
        values = np.concatenate([values, fresh.astype(np.float64)])
        found = Samples(values, True)
        if tolerance is not None and len(values) > 1 and found.standard_error <= tolerance * abs(found.mean):
            return found
    return Samples(values, False)


def row_dot(a: Tensor, b: Tensor) -> Tensor:
    """Multiply rows with rows.

    Args:
        a: Shape (k, P).
        b: Likewise.

    Returns:
        k inner products, summed in float64 where the device has it.
    """
    dtype = accumulator(a)
    return torch.stack([(x * y).sum(dtype=dtype) for x, y in zip(a, b, strict=True)])


def student_interval(mean: float, error: float, samples: int, confidence: float) -> tuple[float, float]:
    """Make an interval around a mean by Student's t.

    Args:
        mean: The mean.
        error: Its standard error.
        samples: How many independent samples it comes from.
        confidence: E.g. .95.

    Returns:
        Lower and upper end; the mean itself where the error is 0.

    Raises:
        ValueError: If ``confidence`` is no probability.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    reach = 0.0 if error == 0 else float(stats.t.ppf((1 + confidence) / 2, samples - 1)) * error
    return mean - reach, mean + reach
