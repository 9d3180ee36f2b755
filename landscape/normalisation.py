"""The length of directions, filter by filter or as a whole."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import nn

from .directions import Directions
from .filters import filters_of, match_, whole_layer
from .parameters import all_slots

Length = Literal["none", "unit", "filter", "layer"]


def check_length(norm: str, bias: str) -> None:
    """Reject an unknown normalisation.

    Args:
        norm: What the user passed.
        bias: Likewise.

    Raises:
        ValueError: If one of them has no meaning.
    """
    if norm not in get_args(Length):
        raise ValueError(f"norm must be one of {', '.join(get_args(Length))}, got {norm!r}")
    if bias not in {"zero", "match"}:
        raise ValueError(f"bias must be 'zero' or 'match', got {bias!r}")


def normalise(
    directions: Directions, model: nn.Module, norm: Length = "filter", bias: Literal["zero", "match"] = "zero"
) -> Directions:
    """Rescale directions of any kind, so that planes through them can be compared.

    ========  =================================================================================================
    norm      result
    ========  =================================================================================================
    "none"    d
    "unit"    d / |d|: coordinates are distances in parameter space
    "filter"  d_f · |p_f| / (|d_f| + ε) for each filter f (Li et al. 2018, section 4, arXiv:1712.09913)
    "layer"   d_p · |p| / (|d_p| + ε) for each parameter p
    ========  =================================================================================================

    ε = 1e-10 is relative to a direction of length √P, like a random one, so that the small gradients of a trained
    model are matched as well. "filter" and "layer" change the direction, not only its length.

    Args:
        directions: Any, of this model.
        model: The model whose filters are matched; it is only read.
        norm: As in the table.
        bias: For "filter" and "layer", what becomes of 0-d and 1-D parameters: "zero" as in Li et al., "match" treats
            each as one filter.

    Returns:
        New directions; one of length zero stays zero.

    Raises:
        ValueError: If an option has another value, the directions are not this model's, or nothing is left of one.

    Example:
        >>> from lrscape import landscape
        >>> model = nn.Linear(2, 1, bias=False)
        >>> made = landscape.directions_from_vectors(model, torch.tensor([3.0, 4.0]))
        >>> normalise(made, model, "unit").norms().round(6).tolist()
        [1.0]
    """
    check_length(norm, bias)
    slots = {slot.canonical: slot for slot in all_slots(model)}
    lengths = torch.from_numpy(directions.norms())
    start = 1.0 if norm == "unit" else math.sqrt(sum(t[0].numel() for t in directions.tensors.values()))
    scale = torch.where(lengths > 0, start / lengths, 1.0)
    tensors = {}
    for name, tensor in directions.tensors.items():
        slot = slots.get(name)
        if slot is None or slot.parameter.shape != tensor.shape[1:]:
            raise ValueError(f"directions move {name} with shape {tuple(tensor.shape[1:])}, which this model lacks")
        scaled = tensor.detach().clone(memory_format=torch.contiguous_format)
        if norm != "none":
            scaled *= scale.to(tensor.dtype).to(tensor.device).reshape(-1, *[1] * (tensor.dim() - 1))
        if norm in {"filter", "layer"}:
            values = slot.parameter.detach().to(tensor.device, tensor.dtype)
            if slot.parameter.dim() <= 1 and bias == "zero":
                scaled.zero_()
            else:
                match_(scaled, filters_of(slot) if norm == "filter" else whole_layer(slot), values)
        tensors[name] = scaled
    details = {**directions.details, "norm": norm}
    if norm in {"filter", "layer"}:
        details["bias"] = bias
    made = Directions(tensors, directions.kind, details, directions.left_out)
    if bool((made.norms() == 0).any()) and bool((lengths > 0).all()):
        raise ValueError(
            f"norm={norm!r} with bias={bias!r} leaves nothing of a direction: what it moves is 0-d or 1-D, or zero. "
            "Pass bias='match' or norm='unit'."
        )
    return made
