"""What schedulers that follow the Hessian measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..landscape import CurvatureOperator, kappa, preconditioned, stability_factor, top_eigenvalues
from ..landscape.closure import Closure
from ..landscape.hvp import HessianOptions
from ..landscape.kappa import KappaMethod
from ..landscape.random_vectors import Randomness
from ..landscape.ranks import Ranks
from .rank_mean import rank_mean


@dataclass(frozen=True, eq=False)
class SharpnessMeasurement:
    """The sharpness that an optimizer feels, and how much of it the optimizer can stand.

    Attributes:
        sharpness: λ_max(P⁻¹H), with P of the optimizer; see :func:`~lrscape.landscape.preconditioned_sharpness`. It is
            approached from below.
        residual: An eigenvalue lies within sharpness ± residual.
        edge: c: at rate η the optimizer diverges on a quadratic of a sharpness beyond c/η.
        rate: η, the largest rate of the groups at that time; those of the others are relative to it, within P. While
            all are 0, they count alike.
        loss: Of the closure.
        hvps: Vectors multiplied.
    """

    sharpness: float
    residual: float
    edge: float
    rate: float
    loss: float
    hvps: float


@dataclass(frozen=True, eq=False)
class KappaMeasurement:
    """The curvature κ of the paper; see :func:`~lrscape.landscape.kappa`.

    Attributes:
        kappa: |H|/(|g|² + 1e-8).
        standard_error: Of κ.
        norm: What the paper takes for |H|.
        gradient_norm: |g|.
        loss: Of the closure.
        hvps: Vectors multiplied.
    """

    kappa: float
    standard_error: float
    norm: float
    gradient_norm: float
    loss: float
    hvps: float


def largest_rate(optimizer: Optimizer, operator: CurvatureOperator) -> float:
    """Find the largest rate of the groups that hold parameters which count.

    Args:
        optimizer: Whose groups.
        operator: Says which parameters count.

    Returns:
        The rate.
    """
    counted = {id(slot.parameter) for slot in operator.slots}
    return max(float(group["lr"]) for group in optimizer.param_groups if any(id(p) in counted for p in group["params"]))


def warm_start(operator: CurvatureOperator, last: Tensor | None) -> Tensor | None:
    """Choose where to look for the largest eigenvalue: along the eigenvector found last and the gradient.

    On a new batch either alone may be next to orthogonal to what is sharp now, the old vector above all at the
    beginning; gradients lie mostly along sharp directions (Gur-Ari et al. 2018, arXiv:1812.04754) and are known anyway.

    Args:
        operator: The Hessian.
        last: Unit eigenvector, or None; one of another length is not used.

    Returns:
        A vector, or None where there is neither.
    """
    gradient = operator.gradient()
    old = None if last is None or last.shape != gradient.shape else last.to(gradient.device, gradient.dtype)
    if old is not None and not bool(torch.isfinite(old).all()):
        old = None  # found where products overflowed
    length = torch.linalg.vector_norm(gradient)
    if not bool(torch.isfinite(length) & (length > 0)):
        return old
    unit: Tensor = gradient / length
    if old is None:
        return unit
    return torch.add(old, unit, alpha=1.0 if torch.dot(old, unit) >= 0 else -1.0)


def shares(optimizer: Optimizer, rate: float) -> list[float]:
    """Give the rates of groups relative to the largest, as they count within P.

    Args:
        optimizer: Whose groups.
        rate: The largest rate, or 0.

    Returns:
        One share per group; 1 for all while the largest rate is 0.
    """
    return [float(group["lr"]) / rate if rate > 0 else 1.0 for group in optimizer.param_groups]


class FirstLoss:
    """A closure that remembers the first loss it gave, so that none has to be computed just to be recorded.

    Args:
        closure: Returns the loss.
    """

    def __init__(self, closure: Closure) -> None:
        self._closure = closure
        self._seen: Tensor | None = None

    def __call__(self) -> Tensor:
        """Compute the loss, as the closure does."""
        loss = self._closure()
        if self._seen is None and isinstance(loss, Tensor):
            self._seen = loss.detach()
        return loss

    @property
    def value(self) -> float:
        """The first loss; not a number before there is one."""
        return float("nan") if self._seen is None else float(self._seen)


def measure_sharpness(
    model: nn.Module,
    closure: Closure,
    optimizer: Optimizer,
    *,
    tolerance: float,
    max_hvps: int,
    start: Tensor | None,
    seed: Randomness,
    **options: Unpack[HessianOptions],
) -> tuple[SharpnessMeasurement, Tensor]:
    """Measure λ_max(P⁻¹H) on a batch, leaving no trace; under torch.distributed the mean over ranks and their batches.

    Args:
        model: The model.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        optimizer: Says what P is; only read.
        tolerance: Residual at which to stop, relative to the sharpness.
        max_hvps: Products at most.
        start: Eigenvector found last.
        seed: For the start if there is none.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The measurement, and an eigenvector: rank 0's, so that all ranks save the same.
    """
    watched = FirstLoss(closure)
    vectors: list[Tensor] = []

    def here() -> list[float]:
        with preconditioned(model, watched, optimizer, **options) as operator:
            first, rate = warm_start(operator, start), largest_rate(optimizer, operator)
            found = top_eigenvalues(model, operator, tolerance=tolerance, max_hvps=max_hvps, start=first, seed=seed)
        vectors.append(found.vectors[0])
        ends = [float(found.eigenvalues[0]), float(found.residuals[0])]
        return [*ends, stability_factor(optimizer), rate, watched.value, float(found.hvps)]

    return SharpnessMeasurement(*rank_mean(here)), Ranks().of_first(vectors[0])


def measure_kappa(
    model: nn.Module,
    closure: Closure,
    *,
    method: KappaMethod,
    seed: Randomness,
    **options: Unpack[HessianOptions],
) -> KappaMeasurement:
    """Measure κ on a batch, leaving no trace; under torch.distributed the mean over ranks and their batches.

    Args:
        model: The model.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        method: See :func:`~lrscape.landscape.kappa`.
        seed: Of the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The measurement.
    """
    watched = FirstLoss(closure)

    def here() -> list[float]:
        found = kappa(model, watched, method=method, seed=seed, **options)
        return [
            found.kappa,
            found.standard_error,
            found.norm,
            found.gradient_norm,
            watched.value,
            float(found.hvps),
        ]

    return KappaMeasurement(*rank_mean(here))
