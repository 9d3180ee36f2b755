"""The curvature of each parameter group by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, Unpack

from torch import Tensor, nn
from torch.optim import Optimizer

from ..landscape import CurvatureOperator, hessian, kappa, preconditioned, stability_factor, top_eigenvalues
from ..landscape.closure import Closure
from ..landscape.hvp import HessianOptions
from ..landscape.kappa import KappaMethod
from ..landscape.random_vectors import Randomness
from ..landscape.ranks import Ranks
from .curvature_measurement import FirstLoss, largest_rate, shares, warm_start
from .rank_mean import rank_mean

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class PerLayerMeasurement:
    """The curvature of each parameter group's block, and that of the whole.

    Attributes:
        sharpness: λ_max(P⁻¹H) of the whole at the rates of the time; 0 for criterion="kappa", which does not need it.
        residual: An eigenvalue lies within sharpness ± residual; likewise.
        edge: c: beyond c/rate the optimizer diverges; likewise.
        rate: The largest rate of the groups at that time, likewise.
        loss: Of the closure.
        hvps: Vectors multiplied, all blocks together.
        groups: λ_max of each group's block of P⁻¹H, with P without the groups' rates; or κ of each block. 0 for a group
            without parameters of the model's.
    """

    sharpness: float
    residual: float
    edge: float
    rate: float
    loss: float
    hvps: float
    groups: tuple[float, ...]


def _by_group(
    operator: CurvatureOperator, optimizer: Optimizer, estimate: Callable[[int, CurvatureOperator], Result]
) -> dict[int, Result]:
    """Estimate something for each group that holds parameters that count."""
    found: dict[int, Result] = {}
    for number, group in enumerate(optimizer.param_groups):
        held = {id(parameter) for parameter in group["params"]}
        names = [slot.canonical for slot in operator.slots if id(slot.parameter) in held]
        if names:
            found[number] = estimate(number, operator.block(names))
    return found


def measure_group_sharpness(
    model: nn.Module,
    closure: Closure,
    optimizer: Optimizer,
    *,
    tolerance: float,
    max_hvps: int,
    starts: Sequence[Tensor | None],
    seed: Randomness,
    **options: Unpack[HessianOptions],
) -> tuple[PerLayerMeasurement, list[Tensor | None]]:
    """Measure λ_max of P⁻¹H and of its block for each group, on one graph, leaving no trace.

    Args:
        model: The model.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        optimizer: Says what P and the groups are; only read.
        tolerance: Residual at which to stop, relative to the eigenvalue.
        max_hvps: Products at most, for each eigenvalue.
        starts: Eigenvectors found last: that of the whole, then those of the groups; there may be fewer.
        seed: For the start where there is none.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The measurement (under torch.distributed the mean over ranks), and rank 0's eigenvectors, on all ranks.
    """
    watched = FirstLoss(closure)
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    known = [*starts, *[None] * (len(rates) + 1)][: len(rates) + 1]
    vectors: list[Tensor | None] = list(known)

    def top(place: int, operator: CurvatureOperator) -> tuple[float, float, int]:
        first = warm_start(operator, known[place])
        found = top_eigenvalues(model, operator, tolerance=tolerance, max_hvps=max_hvps, start=first, seed=seed)
        vectors[place] = found.vectors[0]
        return float(found.eigenvalues[0]), float(found.residuals[0]), found.hvps

    def here() -> list[float]:
        with preconditioned(model, watched, optimizer, **options) as operator:
            blocks = _by_group(operator, optimizer, lambda number, block: top(number + 1, block))
            whole, residual, hvps = top(0, operator)
            largest = largest_rate(optimizer, operator)
        values = [0.0] * len(rates)
        within = shares(optimizer, largest)
        for number, (value, _, products) in blocks.items():
            hvps += products
            if within[number] > 0:
                values[number] = value / within[number]
        return [whole, residual, stability_factor(optimizer), largest, watched.value, float(hvps), *values]

    sharpness, residual, edge, rate, loss, hvps, *groups = rank_mean(here)
    ranks = Ranks()
    vectors = [None if vector is None else ranks.of_first(vector) for vector in vectors]
    return PerLayerMeasurement(sharpness, residual, edge, rate, loss, hvps, tuple(groups)), vectors


def measure_group_kappa(
    model: nn.Module,
    closure: Closure,
    optimizer: Optimizer,
    *,
    method: KappaMethod,
    seed: Randomness,
    **options: Unpack[HessianOptions],
) -> PerLayerMeasurement:
    """Measure κ of each group's block of the Hessian, on one graph, leaving no trace.

    Args:
        model: The model.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        optimizer: Says what the groups are; only read.
        method: See :func:`~lrscape.landscape.kappa`.
        seed: Of the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The measurement; under torch.distributed the mean over ranks.
    """
    watched = FirstLoss(closure)

    def here() -> list[float]:
        with hessian(model, watched, **options) as operator:
            blocks = _by_group(operator, optimizer, lambda _, block: kappa(model, block, method=method, seed=seed))
        values = [blocks[number].kappa if number in blocks else 0.0 for number in range(len(optimizer.param_groups))]
        return [watched.value, float(sum(found.hvps for found in blocks.values())), *values]

    loss, hvps, *groups = rank_mean(here)
    return PerLayerMeasurement(0.0, 0.0, 0.0, 0.0, loss, hvps, tuple(groups))
