"""The gradient of the loss as a direction."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .closure import Closure
from .differentiable import batches, check_graph, check_objective, graph_loss, tracked
from .directions import Directions
from .harmless import harmless
from .modes import BatchNorm, check_batch_norm, recalibrated
from .normalisation import Length, check_length, normalise
from .objective import Objective
from .parameters import ParameterChoice, Slot, left_out, movable, working_dtype


def _accumulate(
    model: nn.Module,
    objective: Objective | Closure,
    slots: list[Slot],
    batch_norm: BatchNorm,
    dropout: bool,
) -> tuple[dict[str, Tensor], float]:
    """Average the gradient over the data, one batch at a time."""
    parameters = [slot.parameter for slot in slots]
    device = parameters[0].device
    loader = objective.loader if isinstance(objective, Objective) else None
    sums = [torch.zeros_like(p, dtype=working_dtype(p), memory_format=torch.contiguous_format) for p in parameters]
    total: Tensor | None = None
    weights: Tensor | None = None
    with (
        harmless(model, batch_norm=batch_norm, dropout=dropout, loader=loader) as (interrupt, rewind),
        tracked(parameters),
    ):
        if batch_norm == "recalibrate":

            def forward() -> None:
                for batch in batches(objective, device):
                    graph_loss(model, objective, batch)

            recalibrated(model, forward)
            rewind()
        for batch in batches(objective, device):
            with torch.enable_grad():
                value, weight = graph_loss(model, objective, batch)
                check_graph(model, value)
                gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for target, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    target += gradient.detach()
            value = value.detach().to(weight.dtype)
            total = value if total is None else total + value
            weights = weight if weights is None else weights + weight
            interrupt.check()
        if total is None or weights is None:
            raise ValueError("loader gave no batch; the gradient over no data is not defined")
        for target in sums:
            target /= weights.to(target.device, target.dtype)
        return {slot.canonical: s[None] for slot, s in zip(slots, sums, strict=True)}, float(total / weights)


def gradient_direction(
    model: nn.Module,
    objective: Objective | Closure,
    *,
    parameters: ParameterChoice = None,
    norm: Length = "none",
    bias: Literal["zero", "match"] = "match",
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
) -> Directions:
    r"""Take the gradient of the loss at the model's weights as a direction.

    d = ∇L(θ), uphill: with norm="none" the loss at coordinate c is L(θ) + c·|d|² + O(c²), and a step of gradient
    descent with rate η leads to c = −η. Over an :class:`Objective` the gradient is that of the value that
    :func:`~lrscape.landscape.evaluate` gives: Σ_b w_b·∇ℓ_b / Σ_b w_b, read in one pass, one batch in memory.

    The model is left bitwise as it was, ``.grad`` included: :func:`torch.autograd.grad` is used, never ``backward``.

    Args:
        model: Any module.
        objective: An :class:`Objective`, or a closure that returns the loss; its metrics are not computed.
        parameters: Restricts what moves; see :func:`~lrscape.landscape.parameters.movable`. Frozen parameters may be
            named.
        norm: "none"; "unit" for |d| = 1, so that coordinates are distances; "filter" or "layer" as
            :func:`~lrscape.landscape.normalise`.
        bias: For norm="filter" and "layer", what becomes of biases and gains.
        batch_norm: As in :func:`~lrscape.landscape.evaluate`; use the same there. With "recalibrate" the statistics
            are re-estimated and then held fixed.
        dropout: Likewise.

    Returns:
        One direction; ``details`` holds the loss and the length of the gradient.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the loss cannot be differentiated, the gradient is not finite or zero, or an option has another
            value.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> gradient_direction(model, lambda: model(torch.tensor([3.0, 4.0])).sum()).tensors["weight"].tolist()
        [[[3.0, 4.0]]]
    """
    check_length(norm, bias)
    check_batch_norm(batch_norm)
    check_objective(objective)
    slots = movable(model, parameters)
    tensors, loss = _accumulate(model, objective, slots, batch_norm, dropout)
    raw = Directions(tensors, "gradient", {"batch_norm": batch_norm, "dropout": dropout}, left_out(model, slots))
    length = float(raw.norms()[0])
    if not 0 < length < float("inf"):
        raise ValueError(
            f"the gradient has length {length} where the loss is {loss}, so it is no direction; "
            + ("the weights stand exactly at a stationary point" if length == 0 else "the loss has diverged here")
        )
    details = {**raw.details, "loss": loss, "gradient_norm": length}
    return normalise(Directions(tensors, raw.kind, details, raw.left_out), model, norm, bias)
