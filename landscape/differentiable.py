"""The loss with its graph: what gradients and curvature start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .closure import Closure, accumulator, check_scalar
from .objective import Objective, weigh


def check_objective(objective: object) -> None:
    """Reject what is neither an Objective nor a closure.

    Args:
        objective: What the user passed.

    Raises:
        TypeError: If it is something else.
    """
    if not callable(objective) and not isinstance(objective, Objective):
        raise TypeError(
            "objective must be an lrscape.landscape.Objective or a closure that returns the loss, got "
            f"{type(objective).__name__}"
        )


@contextmanager
def tracked(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let autograd see parameters that the user has frozen but named.

    Args:
        parameters: Those to differentiate by.

    Yields:
        Nothing.
    """
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def batches(objective: Objective | Closure, device: torch.device) -> Iterator[Any]:
    """Read the data once.

    Args:
        objective: A closure brings its own data and is one batch.
        device: Where tensors are moved to.

    Returns:
        The batches of an Objective, or None once.
    """
    return objective.units(device) if isinstance(objective, Objective) else iter([None])


def graph_loss(model: nn.Module, objective: Objective | Closure, batch: Any) -> tuple[Tensor, Tensor]:
    """Compute sum and weight of one batch's loss, attached to the graph.

    Args:
        model: The model.
        objective: The loss; metrics are not computed.
        batch: From :func:`batches`.

    Returns:
        Two 0-d tensors.
    """
    if not isinstance(objective, Objective):
        loss = objective()
        check_scalar(loss, "the closure")
        return loss, torch.ones_like(loss, dtype=accumulator(loss), requires_grad=False)
    return weigh(objective.loss_fn(model, batch), batch, "loss_fn")


def check_graph(model: nn.Module, loss: Tensor) -> None:
    """Reject a loss that cannot be differentiated, or that came with a backward pass.

    Args:
        model: The model, whose gradients were taken away before the loss was computed.
        loss: The loss.

    Raises:
        ValueError: If there is no graph, or there are gradients.
    """
    if any(parameter.grad is not None for parameter in model.parameters()):
        raise ValueError(
            "the closure must only compute the loss, but it calls backward(); leave that out, the gradient is taken "
            "here"
        )
    if not loss.requires_grad:
        raise ValueError(
            "the loss has no gradient with respect to the parameters: it was computed under torch.no_grad(), detached, "
            "or from another model; return the loss as training computes it"
        )
