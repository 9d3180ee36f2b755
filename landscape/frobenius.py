"""The Frobenius norm of the Hessian, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective
from .random_vectors import Randomness, generator_from
from .sampling import Samples, check_sampling, row_dot, sample


@dataclass(frozen=True, eq=False)
class FrobeniusNorm:
    """An estimated Frobenius norm.

    Attributes:
        estimate: |H|_F, loss per unit² of the parameters.
        standard_error: Of the estimate, to first order: that of the square over 2·|H|_F.
        square: |H|_F², the sum of all squared eigenvalues, estimated without bias.
        square_error: Its standard error.
        hvps: Vectors multiplied.
        converged: Whether the stop rule was met.
    """

    estimate: float
    standard_error: float
    square: float
    square_error: float
    hvps: int
    converged: bool


def frobenius(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    *,
    tolerance: float | None = 0.05,
    max_hvps: int = 100,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> FrobeniusNorm:
    r"""Estimate the Frobenius norm of the Hessian.

    |H|_F² = tr(H²) = E|Hv|² for random vectors of ±1 (Hutchinson 1990, applied to H²): one product per sample, since
    vᵀH²v = |Hv|².

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        tolerance: Stop when the standard error of the square is at most this share of it, looked at every ten products;
            None to use all of ``max_hvps``.
        max_hvps: Products at most.
        seed: For the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The norm.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> frobenius(model, lambda: (torch.tensor([3.0, 4.0]) * model.weight ** 2).sum() / 2).estimate
        5.0
    """
    check_sampling(tolerance, max_hvps)
    with opened(model, objective, options) as operator:
        found: Samples = sample(
            operator,
            lambda _, product: row_dot(product, product),
            kind="rademacher",
            tolerance=tolerance,
            max_hvps=max_hvps,
            generator=generator_from(seed),
        )
    square, error = found.mean, found.standard_error
    norm = square**0.5
    slope = 0.5 / norm if norm > 0 else 0.0
    return FrobeniusNorm(norm, error * slope, square, error, len(found.values), found.settled)
