"""The sharpest directions of the loss."""

from __future__ import annotations

from typing import Any

from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .directions import Directions, directions_from_vectors
from .eigenvalues import top_eigenvalues
from .objective import Objective


def hessian_directions(
    model: nn.Module,
    objective: Objective | Closure,
    k: int = 2,
    **settings: Any,
) -> Directions:
    """Take the top eigenvectors of the Hessian as directions.

    Unit vectors, orthogonal as whole vectors: along the i-th the loss is L(θ) + c·gᵀd + ½λ_i·c² + O(c³), with c in
    units of the parameters. The sign of an eigenvector says nothing.

    Args:
        model: Any module.
        objective: An :class:`Objective`, or a closure that returns the loss.
        k: How many.
        **settings: Of :func:`~lrscape.landscape.top_eigenvalues` and :func:`~lrscape.landscape.hessian`.

    Returns:
        The directions; ``details`` holds eigenvalues, residuals and the number of products.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> sharp = hessian_directions(model, lambda: (torch.tensor([1.0, 3.0]) * model.weight ** 2).sum(), 1)
        >>> sharp.tensors["weight"].abs().round(decimals=4).tolist(), round(sharp.details["eigenvalues"][0], 4)
        ([[[0.0, 1.0]]], 6.0)
    """
    if isinstance(objective, CurvatureOperator):
        raise TypeError("objective must be an lrscape.landscape.Objective or a closure, got an operator")
    found = top_eigenvalues(model, objective, k, **settings)
    made = directions_from_vectors(model, found.vectors, parameters=settings.get("parameters"))
    details = {
        "eigenvalues": tuple(found.eigenvalues.tolist()),
        "residuals": tuple(found.residuals.tolist()),
        "hvps": found.hvps,
    }
    return Directions(made.tensors, "hessian", details, made.left_out)
