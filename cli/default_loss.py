"""The loss of ``lrscape probe`` where ``--loss`` names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # cross-entropy's own mark for targets that do not count
ADVICE = "pass --loss package.module:function, a function of (model, batch)"


def default_loss(model: Any, batch: Any) -> Tensor | tuple[Tensor, Tensor | int]:
    """Compute the loss that the output and the target suggest.

    The output's own ``.loss`` if it has one, else cross-entropy for integer and mean squared error for floating-point
    targets. The latter two are summed over everything that counts, so that batches of any size weigh as they should;
    an own ``.loss`` weighs as many examples as its batch has.

    Args:
        model: Called with the inputs: spread as arguments if they are a list, a tuple or a mapping.
        batch: A mapping, which is spread as keyword arguments and may bring labels, or a pair (inputs, target).

    Returns:
        The output's ``.loss``, or a pair (sum, count).

    Raises:
        TypeError: If the batch or the output is of a kind that suggests nothing.
    """
    inputs, target = _parts(batch)
    output = _forward(model, inputs)
    loss = own_loss(output)
    if loss is not None:
        return loss
    if target is None:
        raise TypeError(
            f"the batch is a {type(batch).__name__} and the model's output ({type(output).__name__}) has no .loss; put "
            f"labels into the batch, or {ADVICE}"
        )
    scores = output if isinstance(output, Tensor) else getattr(output, "logits", None)  # Transformers' outputs
    if not isinstance(scores, Tensor):
        raise TypeError(f"the model's output must be a tensor or have .loss, got {type(output).__name__}; {ADVICE}")
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # a sum in half precision would be no sum
    return _mean_squares(scores, target) if target.is_floating_point() else _cross_entropy(scores, target)


def name_loss(model: Any, batch: Any) -> str:
    """Say which loss :func:`default_loss` takes, and find out whether it can.

    Args:
        model: As for :func:`default_loss`.
        batch: One batch.

    Returns:
        "the output's .loss", "cross-entropy" or "mean squared error".
    """
    with torch.no_grad():
        value = default_loss(model, batch)
    if not isinstance(value, tuple):
        return "the output's .loss"
    return "mean squared error" if _parts(batch)[1].is_floating_point() else "cross-entropy"


def own_loss(output: Any) -> Tensor | None:
    """Read the loss that a model computes itself, as Transformers' models do.

    Args:
        output: What the model returned.

    Returns:
        ``output.loss`` or ``output["loss"]``, None if there is none.

    Example:
        >>> own_loss({"loss": torch.tensor(2.0)})
        tensor(2.)
    """
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return loss if isinstance(loss, Tensor) else None


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        return batch, None
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        given = f"{len(batch)} parts" if isinstance(batch, list | tuple) else f"a {type(batch).__name__}"
        raise TypeError(f"the default loss takes batches (inputs, target) or mappings, got {given}; {ADVICE}")
    inputs, target = batch
    if not isinstance(target, Tensor) or target.is_complex() or target.dtype == torch.bool:
        given = str(target.dtype) if isinstance(target, Tensor) else f"a {type(target).__name__}"
        raise TypeError(f"the default loss takes integer or floating-point targets, got {given}; {ADVICE}")
    return inputs, target


def _forward(model: Any, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, list | tuple) else model(inputs)


def _mean_squares(output: Tensor, target: Tensor) -> tuple[Tensor, int]:
    if output.squeeze().shape != target.squeeze().shape:  # broadcasting would compare every output with every target
        raise TypeError(
            f"mean squared error needs as many outputs as targets, got shapes {tuple(output.shape)} and "
            f"{tuple(target.shape)}; {ADVICE}"
        )
    return F.mse_loss(output, target.reshape(output.shape).to(output.dtype), reduction="sum"), target.numel()


def _cross_entropy(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if output.dim() < 2 or output.shape[:1] + output.shape[2:] != target.shape:
        if output.dim() < 2 or output.shape[:-1] != target.shape:
            raise TypeError(
                f"cross-entropy needs scores of shape (batch, classes, …) for targets of shape {tuple(target.shape)}, "
                f"got {tuple(output.shape)}; {ADVICE}"
            )
        output = output.movedim(-1, 1)  # a language model's (batch, tokens, classes)
    counted = (target != IGNORED).sum()
    return F.cross_entropy(output, target.long(), ignore_index=IGNORED, reduction="sum"), counted
