"""Directions made of other directions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .directions import Directions
from .gram import gram_schmidt


def _check(directions: object, name: str) -> Directions:
    if not isinstance(directions, Directions):
        raise TypeError(f"{name} must be lrscape.landscape.Directions, got {type(directions).__name__}")
    return directions


def stack_directions(*directions: Directions) -> Directions:
    r"""Put directions of different kinds side by side, e.g. the gradient beside a random one.

    A parameter that only some of them move stays where it is in the others.

    Args:
        *directions: Of the same model, any number of each.

    Returns:
        All of them in the order given: tensors of shape (k₁ + k₂ + …, \*parameter.shape).

    Raises:
        TypeError: If an argument is no Directions.
        ValueError: If there is none, or two have different shapes for the same parameter.

    Example:
        >>> from lrscape import landscape
        >>> model = torch.nn.Linear(2, 1)
        >>> plane = stack_directions(*(landscape.random_directions(model, 1, seed=seed) for seed in (3, 4)))
        >>> len(plane), plane.tensors["weight"].shape
        (2, torch.Size([2, 1, 2]))
    """
    if not directions:
        raise ValueError("stack_directions needs at least one Directions, got none")
    parts = [_check(part, "each argument of stack_directions") for part in directions]
    tensors: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for part in parts for name in part.tensors):
        present = [part.tensors[name] for part in parts if name in part.tensors]
        like = present[0]
        if len({tensor.shape[1:] for tensor in present}) > 1:
            shapes = " and ".join(str(tuple(tensor.shape[1:])) for tensor in present)
            raise ValueError(f"directions move {name} with shapes {shapes}; stack directions of the same model")
        dtype = max((tensor.dtype for tensor in present), key=lambda dtype: dtype.itemsize)
        pieces = [
            part.tensors[name].to(like.device, dtype)
            if name in part.tensors
            else torch.zeros(len(part), *like.shape[1:], dtype=dtype, device=like.device)
            for part in parts
        ]
        tensors[name] = torch.cat(pieces)
    return Directions(tensors, "stack", _shared(parts), tuple(n for n in parts[0].left_out if n not in tensors))


def _shared(parts: list[Directions]) -> dict[str, Any]:
    details: dict[str, Any] = {
        "parts": [{"kind": part.kind, "directions": len(part), **part.details} for part in parts]
    }
    norms = {part.details.get("norm") for part in parts}
    if len(norms) == 1 and None not in norms:
        details["norm"] = norms.pop()
    return details


def orthogonalise(directions: Directions) -> Directions:
    """Make directions orthogonal as whole vectors, each keeping its length.

    d_i ← |d_i| · r_i / |r_i| with r_i = d_i − Σ_{j<i} ⟨d_i, d_j⟩ d_j / |d_j|² (modified Gram–Schmidt, twice, since
    once leaves nearly parallel vectors oblique). The first direction does not change.

    Args:
        directions: Any.

    Returns:
        New directions.

    Raises:
        TypeError: If ``directions`` is no Directions.
        ValueError: If a direction lies in the span of those before it.

    Example:
        >>> from lrscape import landscape
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> made = landscape.directions_from_vectors(model, torch.tensor([[3.0, 0.0], [3.0, 4.0]]))
        >>> orthogonalise(made).tensors["weight"].flatten().tolist()
        [3.0, 0.0, 0.0, 5.0]
    """
    k = len(_check(directions, "directions"))
    tensors = {name: tensor.detach().clone() for name, tensor in directions.tensors.items()}
    tensors = gram_schmidt(gram_schmidt(tensors, k), k)
    return Directions(tensors, directions.kind, {**directions.details, "orthogonal": True}, directions.left_out)
