"""Curvature of one layer at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective

Result = TypeVar("Result")


def by_layer(
    estimator: Callable[..., Result],
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    **settings: Any,
) -> dict[str, Result]:
    """Estimate something for the diagonal block of each layer.

    A layer is a module that holds parameters of its own; its block H_ll holds the second derivatives by its parameters
    with all others fixed. The largest eigenvalue of a block is at most that of H, the traces of the blocks add up to
    that of H. All blocks share one graph, and products go no deeper into it than they must.

    Args:
        estimator: E.g. :func:`~lrscape.landscape.top_eigenvalues` or :func:`~lrscape.landscape.trace`: any function of
            a model and an operator.
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        **settings: Of the estimator and of :func:`~lrscape.landscape.hessian`.

    Returns:
        By the name of the layer, in the model's order; a parameter of the model itself is under "".

    Raises:
        TypeError: If ``estimator`` is no function.
        ValueError: If an option has another value.

    Example:
        >>> from lrscape.landscape import trace
        >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> loss = lambda: (model[0].weight ** 2 + 3 * model[1].weight ** 2).sum()
        >>> {name: found.estimate for name, found in by_layer(trace, model, loss).items()}
        {'0': 2.0, '1': 6.0}
    """
    if not callable(estimator):
        raise TypeError(f"estimator must be a function of a model and an operator, got {type(estimator).__name__}")
    names = HessianOptions.__annotations__
    options: Any = {name: value for name, value in settings.items() if name in names}
    rest = {name: value for name, value in settings.items() if name not in names}
    with opened(model, objective, options) as operator:
        return {layer: estimator(model, operator.block(own), **rest) for layer, own in operator.layers().items()}
