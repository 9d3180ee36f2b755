"""The squared length of many tensors as of one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..landscape.closure import accumulator
from ..landscape.shards import is_spread, local, sharding


def squared_norm(tensors: Sequence[Tensor], like: Sequence[Tensor] | None = None) -> Tensor:
    """Compute Σ|t|² without waiting for the device: each norm in single precision at least, their sum in double.

    Where tensors are spread over ranks (FSDP2, DTensor) the sum is that of the whole tensors, on every rank.

    Args:
        tensors: At least one.
        like: Tensors of the same number that say how each is spread, where ``tensors`` are this rank's parts; by
            default they say so themselves.

    Returns:
        A 0-d tensor on the device of the first one: float64, or float32 on MPS.

    Example:
        >>> squared_norm([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])]).item()
        25.0
    """
    # One sum over ranks for all tensors that are spread alike, not one for each.
    alike: dict[Any, tuple[Tensor, list[Tensor]]] = {}
    for tensor, model in zip(tensors, tensors if like is None else like, strict=True):
        key = (model.device_mesh, tuple(model.placements)) if is_spread(model) else None  # type: ignore[attr-defined]
        alike.setdefault(key, (model, []))[1].append(local(tensor))
    sums = []
    for model, parts in alike.values():
        found, spread = _squares(parts), sharding(model, "a gradient")
        sums.append(found if spread is None else spread.summed(found))
    return torch.stack([found.to(sums[0]) for found in sums]).sum()


def _squares(parts: list[Tensor]) -> Tensor:
    """Add up squares of tensors of any device and dtype; half precision would overflow at 256²."""
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for part in parts:
        alike.setdefault((part.device, part.dtype), []).append(part)
    target = torch.empty((), device=parts[0].device, dtype=accumulator(parts[0]))
    norms: list[Tensor] = []
    for (_, dtype), members in alike.items():
        wide = torch.float32 if dtype.itemsize < 4 else None
        norms += [norm.to(target) for norm in torch._foreach_norm(members, 2, wide)]
    return torch.stack(norms).square().sum()
