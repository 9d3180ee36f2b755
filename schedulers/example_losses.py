"""Mean and variance of the losses of single examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..landscape.closure import accumulator
from ..landscape.ranks import Ranks


@dataclass(frozen=True, eq=False)
class RiverMeasurement:
    """How the examples of a batch fare.

    Attributes:
        mean: Of their losses.
        variance: Population variance of their losses, loss².

    Raises:
        ValueError: If the variance is negative.
    """

    mean: float
    variance: float

    def __post_init__(self) -> None:
        if self.variance < 0:
            raise ValueError(f"variance must not be negative, got {self.variance}")

    @property
    def relative_variance(self) -> float:
        """Var/L̄², whatever the scale of the loss: 0 for equal losses, and infinite where only the mean vanishes.

        For N losses that are not negative it is at most N − 1, reached when all but one are 0.
        """
        deviation = math.sqrt(self.variance)
        if deviation == 0:
            return 0.0
        ratio = deviation / abs(self.mean) if self.mean else math.inf
        return ratio * ratio


def measure_examples(closure: Callable[[], Tensor]) -> RiverMeasurement:
    """Compute mean and population variance of losses, in double precision, with one synchronisation.

    Under torch.distributed every rank brings examples of its own, and all get the figures of all examples.

    Args:
        closure: Returns the losses of single examples, shape (N,).

    Returns:
        The measurement.

    Raises:
        TypeError: If there is no tensor.
        ValueError: If it has another shape, or fewer than two examples.
        RuntimeError: If another rank failed.

    Example:
        >>> found = measure_examples(lambda: torch.tensor([1.0, 3.0]))
        >>> found.mean, found.variance, found.relative_variance
        (2.0, 1.0, 0.25)
    """
    ranks = Ranks()
    every = ranks.gather(ranks.jointly(partial(_moments, closure)))
    count = sum(n for n, _, _ in every)
    mean = sum(n * m for n, m, _ in every) / count
    variance = sum(n * (v + (m - mean) * (m - mean)) for n, m, v in every) / count
    return RiverMeasurement(mean, variance)


@torch.no_grad()
def _moments(closure: Callable[[], Tensor]) -> list[float]:
    losses = closure()
    if not isinstance(losses, Tensor):
        raise TypeError(
            f"losses must be a torch.Tensor with one entry for each example, got {type(losses).__name__}; compute them "
            'with reduction="none"'
        )
    if losses.dim() != 1 or losses.is_complex():
        raise ValueError(
            f"losses must be real and have one entry for each example, shape (N,), got {losses.dtype} of shape "
            f'{tuple(losses.shape)}; use reduction="none", and average what belongs to one example'
        )
    if len(losses) < 2:
        raise ValueError(
            f"the variance of losses needs at least two examples, got {len(losses)}; leave such a batch out, e.g. by "
            "drop_last=True"
        )
    values = losses.detach().to(accumulator(losses))
    mean = values.mean()
    found = torch.stack([mean, (values - mean).square().mean()]).tolist()
    return [float(len(losses)), *found]
