"""The curvature κ of the curvature-adaptive rates paper, as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective
from .power_iteration import power_iteration
from .random_vectors import Randomness, draw, generator_from
from .sampling import row_dot

KappaMethod = Literal["hutchinson", "power"]
EPSILON = 1e-8
SAMPLES, ITERATIONS = 10, 5  # as published
RESAMPLED = 1000


@dataclass(frozen=True, eq=False)
class Kappa:
    """κ and what it is made of.

    Attributes:
        kappa: |H|/(|g|² + 1e-8), in 1/loss.
        standard_error: Of κ. For "hutchinson" by resampling the samples, for "power" the residual over the same
            denominator, which bounds how far |λ| is from an eigenvalue.
        norm: What the paper takes for |H|.
        gradient_norm: |g|.
        samples: vᵀHv of each Gaussian vector; of the last vector for "power".
        hvps: Vectors multiplied.
    """

    kappa: float
    standard_error: float
    norm: float
    gradient_norm: float
    samples: NDArray[np.float64]
    hvps: int


def kappa(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    *,
    method: KappaMethod = "hutchinson",
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> Kappa:
    r"""Measure κ = |H|/(|g|² + 1e-8), as published.

    Source: the draft "Homotopy learning rates" (2026), its class CurvatureEstimator. What it calls |H| is the largest
    of |vᵀHv| over 10 Gaussian vectors ("hutchinson"), or |vᵀHv| in the fifth power iteration ("power"). The first is
    about the size of the trace, not of the spectral norm: a matrix of norm 100 can give 649 to 996. κ has the unit of
    1/loss, so a loss ten times as large has a κ a tenth as large. For a step size take
    :func:`~lrscape.landscape.top_eigenvalues` or :func:`~lrscape.landscape.preconditioned_sharpness`.

    Differs from the published code: nothing of the model's is changed, and the vectors have a seed.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        method: How |H| is estimated.
        seed: For the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        κ and its parts.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> found = kappa(model, lambda: (model.weight ** 2).sum(), method="power")
        >>> found.norm, found.gradient_norm, round(found.kappa, 6)
        (2.0, 2.0, 0.5)
    """
    if method not in get_args(KappaMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(KappaMethod))}, got {method!r}")
    with opened(model, objective, options) as operator:
        gradient = float(torch.linalg.vector_norm(operator.gradient()))
        below = gradient * gradient + EPSILON  # a power would raise where this is infinite
        if method == "power":
            found = power_iteration(model, operator, tolerance=0.0, max_hvps=ITERATIONS, seed=seed)
            norm, hvps = abs(found.eigenvalue), found.hvps
            return Kappa(norm / below, found.residual / below, norm, gradient, np.array([found.eigenvalue]), hvps)
        vectors = draw(operator, SAMPLES, generator_from(seed))
        samples = row_dot(vectors, operator.matmat(vectors)).double().cpu().numpy()
    norm = float(np.abs(samples).max())
    error = float("nan")
    if np.isfinite(norm):
        again = np.random.default_rng(0).choice(np.abs(samples), (RESAMPLED, SAMPLES)).max(1)
        with np.errstate(over="ignore"):
            error = float(again.std(ddof=1))
    return Kappa(norm / below, error / below, norm, gradient, samples, SAMPLES)
