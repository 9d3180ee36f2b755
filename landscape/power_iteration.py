"""The eigenvalue of largest magnitude, by power iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective
from .random_vectors import Randomness, draw, generator_from, unit_start


@dataclass(frozen=True, eq=False)
class PowerIteration:
    """The outcome of a power iteration.

    Attributes:
        eigenvalue: vᵀHv with its sign, loss per unit² of the parameters.
        residual: |Hv − eigenvalue·v|: a true eigenvalue lies within eigenvalue ± residual.
        vector: Unit vector, shape (P,); where to start next time.
        hvps: Vectors multiplied.
        converged: Whether the eigenvalue had settled when the iteration ended.
    """

    eigenvalue: float
    residual: float
    vector: Tensor
    hvps: int
    converged: bool


def power_iteration(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    *,
    tolerance: float = 1e-2,
    max_hvps: int = 20,
    start: Tensor | None = None,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> PowerIteration:
    r"""Follow v ← Hv/|Hv| until vᵀHv settles.

    Ends when |λ_t − λ_{t−1}| ≤ tolerance·|λ_t|, or after ``max_hvps`` products. It finds the eigenvalue of the largest
    magnitude, which may be negative, and needs no memory beyond two vectors. Started from the vector found last, two
    products do while training moves slowly; :func:`~lrscape.landscape.top_eigenvalues` needs fewer products from a cold
    start. That the eigenvalue has settled does not bound its error, the residual does.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        tolerance: Relative change at which to stop.
        max_hvps: Products at most.
        start: Where to start, shape (P,); random by default.
        seed: For the random start.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The eigenvalue, its residual and vector.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value, or the start does not fit.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> scale = torch.tensor([1.0, -3.0])
        >>> found = power_iteration(model, lambda: (scale * model.weight ** 2).sum() / 2, tolerance=1e-6)
        >>> round(found.eigenvalue, 4)
        -3.0
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance}")
    if max_hvps < 1:
        raise ValueError(f"max_hvps must be at least 1, got {max_hvps}")
    with opened(model, objective, options) as operator:
        before = operator.products
        rows = unit_start(operator, draw(operator, 1, generator_from(seed)) if start is None else start)
        if len(rows) > 1:
            raise ValueError(f"start must be a single vector, got {len(rows)}; top_eigenvalues takes several")
        vector = rows[0]
        last, converged = float("nan"), False
        while True:
            product = operator.matvec(vector)
            # the two numbers of a step, in one synchronisation
            value, length = torch.stack([torch.dot(vector, product), torch.linalg.vector_norm(product)]).tolist()
            converged = abs(value - last) <= tolerance * abs(value)
            if converged or operator.products - before >= max_hvps or not 0 < length < float("inf"):
                break
            vector, last = product / length, value
        residual = float(torch.linalg.vector_norm(product - value * vector))
        return PowerIteration(value, residual, vector, operator.products - before, converged or length == 0)
