"""The curvature along the gradient, and the step that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import nn

from .closure import Closure, accumulator
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective


@dataclass(frozen=True, eq=False)
class GradientCurvature:
    """Curvature along the gradient.

    Attributes:
        curvature: gᵀHg/|g|², loss per unit² of the parameters; NaN where the gradient is zero.
        gradient_norm: |g|, loss per unit of the parameters.
        best_rate: η* = |g|²/(gᵀHg), the rate of the step of gradient descent that lowers the quadratic model most;
            twice as much lowers it no more. Infinite where the loss does not curve upwards, NaN where the gradient is
            zero.
        hvps: Vectors multiplied, 1; it is no estimate.
    """

    curvature: float
    gradient_norm: float
    best_rate: float
    hvps: int


def gradient_curvature(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    **options: Unpack[HessianOptions],
) -> GradientCurvature:
    r"""Measure the curvature of the loss along its gradient.

    gᵀHg/|g|² and η* = |g|²/(gᵀHg), from L(θ − ηg) ≈ L − η|g|² + ½η²·gᵀHg (Cauchy's step; LeCun, Simard & Pearlmutter
    1993 compute it online). One gradient and one product.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The curvature and the rate.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value, or the loss cannot be differentiated.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> found = gradient_curvature(model, lambda: (torch.tensor([1.0, 0.0]) * model.weight ** 2).sum())
        >>> found.curvature, found.gradient_norm, found.best_rate
        (2.0, 2.0, 0.5)
    """
    with opened(model, objective, options) as operator:
        gradient = operator.gradient()
        norm = torch.linalg.vector_norm(gradient, dtype=accumulator(gradient))
        unit = gradient / norm  # first, or the square of a small gradient would vanish in float32
        along = torch.dot(unit, operator.matvec(unit)).to(norm.dtype)
        curvature, length = torch.stack([along, norm]).tolist()
    rate = float("inf") if curvature <= 0 else 1 / curvature
    return GradientCurvature(curvature, length, rate, 1)
