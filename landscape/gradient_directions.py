"""The gradient of the loss as a direction."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .ambient import loss_as_called, without_autocast, without_inference
from .closure import Closure
from .differentiable import batches, check_graph, check_objective, graph_loss, tracked
from .directions import Directions
from .harmless import harmless
from .linearisation import gradients
from .modes import BatchNorm, check_batch_norm, recalibrated
from .normalisation import Length, check_length, normalise
from .objective import Objective
from .parameters import ParameterChoice, Slot, left_out, movable, working_dtype
from .ranks import Ranks
from .sharded_gradient import check_sharded, sharded_gradient
from .shards import any_spread, local, resharded, sharding


def _gradients(
    model: nn.Module, objective: Objective | Closure, parameters: list[nn.Parameter], batch: Any
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Compute the gradient of one batch's sum, the sum and its weight; where parameters are spread, the ranks' mean."""

    def loss() -> tuple[Tensor, Tensor]:
        value, weight = graph_loss(model, objective, batch)
        check_graph(model, value)
        return value, weight

    if check_sharded(model, parameters):
        return sharded_gradient(model, parameters, loss)
    with torch.enable_grad():
        value, weight = loss()
        found = gradients(value, parameters)
    return list(found), value.detach(), weight


def _accumulate(
    model: nn.Module,
    objective: Objective | Closure,
    slots: list[Slot],
    batch_norm: BatchNorm,
    dropout: bool,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Add up the gradient over the data, one batch at a time, with losses and weights."""
    parameters = [slot.parameter for slot in slots]
    device = parameters[0].device
    loader = objective.loader if isinstance(objective, Objective) else None
    sums = [
        torch.zeros_like(local(p), dtype=working_dtype(p), memory_format=torch.contiguous_format) for p in parameters
    ]
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
            gradients, value, weight = _gradients(model, objective, parameters, batch)
            for target, gradient in zip(sums, gradients, strict=True):
                target += gradient.detach()
            value = value.to(weight.dtype)
            total = value if total is None else total + value
            weights = weight if weights is None else weights + weight
            interrupt.check()
        if total is None or weights is None:
            raise ValueError("loader gave no batch; the gradient over no data is not defined")
        return sums, total, weights


def _mean(
    model: nn.Module, objective: Objective | Closure, slots: list[Slot], how: tuple[BatchNorm, bool], ranks: Ranks
) -> tuple[dict[str, Tensor], float]:
    """Average the gradient over the data of all ranks; what is here of it, and the loss."""
    sums, total, weights = ranks.jointly(partial(_accumulate, model, objective, slots, *how))
    every = ranks.gather((float(total), float(weights)))
    loss, weight = (sum(column) for column in zip(*every, strict=True))
    spread = any_spread(slot.parameter for slot in slots)  # then sums are means over ranks already
    share = weight / ranks.size if spread else weight
    return {
        slot.canonical: (sums_here if spread else ranks.summed(sums_here)) / share
        for slot, sums_here in zip(slots, sums, strict=True)
    }, loss / weight


def gradient_direction(
    model: nn.Module,
    objective: Objective | Closure,
    *,
    parameters: ParameterChoice = None,
    norm: Length = "none",
    bias: Literal["zero", "match"] = "match",
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    share: Literal["auto", "none"] = "auto",
) -> Directions:
    r"""Take the gradient of the loss at the model's weights as a direction.

    d = ∇L(θ), uphill: with norm="none" the loss at coordinate c is L(θ) + c·|d|² + O(c²), and a step of gradient
    descent with rate η leads to c = −η. Over an :class:`Objective` the gradient is that of the value that
    :func:`~lrscape.landscape.evaluate` gives: Σ_b w_b·∇ℓ_b / Σ_b w_b, read in one pass, one batch in memory.

    The model is left bitwise as it was, ``.grad`` included: :func:`torch.autograd.grad` is used, and ``backward`` only
    where FSDP2 has spread the parameters over ranks.

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
        share: "auto": under torch.distributed the gradient of all ranks' data, the same on every rank; all must call
            this. "none" leaves the other processes out.

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
    if share not in {"auto", "none"}:
        raise ValueError(f"share must be 'auto' or 'none', got {share!r}")
    movable(model, parameters)  # says what is wrong with the model, if anything
    objective = loss_as_called(objective)
    with without_inference(), without_autocast(), resharded(model):
        slots = movable(model, parameters)
        spread = {slot.canonical: sharding(slot.parameter, slot.canonical) for slot in slots}
        _check_spread(any(spread.values()), norm, share)
        found, loss = _mean(model, objective, slots, (batch_norm, dropout), Ranks(together=share == "auto"))
        tensors = {
            slot.canonical: part[None] if how is None else how.stacked(part[None], tuple(slot.parameter.shape))
            for slot, (part, how) in zip(slots, zip(found.values(), spread.values(), strict=True), strict=True)
        }
        raw = Directions(tensors, "gradient", {"batch_norm": batch_norm, "dropout": dropout}, left_out(model, slots))
        length = float(raw.norms()[0])
    if not 0 < length < float("inf"):
        raise ValueError(
            f"the gradient has length {length} where the loss is {loss}, so it is no direction; "
            + ("the weights stand exactly at a stationary point" if length == 0 else "the loss has diverged here")
        )
    details = {**raw.details, "loss": loss, "gradient_norm": length}
    if any(spread.values()):
        scaled = {name: tensor / length if norm == "unit" else tensor for name, tensor in tensors.items()}
        return Directions(scaled, raw.kind, {**details, "norm": norm}, raw.left_out)
    return normalise(Directions(tensors, raw.kind, details, raw.left_out), model, norm, bias)


def _check_spread(spread: bool, norm: Length, share: str) -> None:
    if spread and norm in {"filter", "layer"}:
        raise ValueError(
            f"norm={norm!r} needs whole parameters, but these are spread over ranks; use norm='unit' or 'none'"
        )
    if spread and share == "none":
        raise ValueError("share='none' is not possible with parameters that are spread over ranks; use share='auto'")
