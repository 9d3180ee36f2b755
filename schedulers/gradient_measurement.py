"""What the gradients of an optimizer say, as training has left them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from .squared_norm import squared_norm


@dataclass(frozen=True, eq=False)
class GradientMeasurement:
    """What the factor rests on.

    Attributes:
        squared_gradient: Σg² over all parameters of the optimizer.
    """

    squared_gradient: float


@dataclass(frozen=True, eq=False)
class GradientLossMeasurement(GradientMeasurement):
    """What the factor rests on where the loss counts.

    Attributes:
        squared_gradient: Σg² over all parameters of the optimizer.
        loss: L.
    """

    loss: float


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """Collect the gradients of all parameter groups.

    Args:
        optimizer: Whose parameters.

    Returns:
        Those that are there.

    Raises:
        TypeError: If one is sparse.
    """
    found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if any(gradient.is_sparse for gradient in found):
        raise TypeError("gradients must be dense, got a sparse one; use sparse=False in the embedding layer")
    return found


def squared_gradient(optimizer: Optimizer) -> float:
    """Measure the gradient, with one synchronisation.

    Args:
        optimizer: Whose parameters.

    Returns:
        Σg² over all groups, and over all ranks where parameters are spread over them.

    Raises:
        ValueError: If there is no gradient.
    """
    gradients = gradients_of(optimizer)
    if not gradients:
        raise ValueError("there are no gradients to measure; call this between backward() and zero_grad()")
    return squared_norm(gradients).item()
