"""Random directions, normalised filter by filter."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .directions import Directions
from .draws import Seed
from .filters import Filters, filters_of, whole_layer
from .gram import gram_of, mix_, mixing
from .parameters import ParameterChoice, Slot, left_out, movable, working_dtype
from .seeded import SeededTensors, Source, measured
from .shards import is_spread, local, resharded, sharding

Norm = Literal["filter", "layer", "none"]


def _strides(parameter: Tensor) -> tuple[int, ...] | None:
    """Find the strides that an uninitialised copy would have, where they are not row by row."""
    if is_spread(parameter) or parameter.is_contiguous():
        return None
    strides = torch.empty_like(parameter, device="meta").stride()
    return strides if parameter.stride() == strides else None


def _source(slot: Slot, norm: Norm, bias: str, generator: str) -> Source:
    parameter = slot.parameter
    moves = parameter.dim() > 1 or bias != "zero"
    filters: Filters | None = None
    if moves and norm != "none":
        filters = filters_of(slot) if norm == "filter" else whole_layer(slot)
    return Source(
        name=slot.canonical,
        size=tuple(parameter.shape),
        dtype=working_dtype(parameter),
        device=parameter.device,
        strides=_strides(parameter),
        draws_on=torch.device("cpu") if generator == "cpu" else parameter.device,
        spread=sharding(parameter, slot.canonical),
        filters=filters,
        factors=[],
        moves=moves,
    )


def _prepared(slot: Slot, source: Source, k: int, seed: Seed, *, keep: bool) -> Tensor | None:
    """Find the lengths of the filters, and keep the directions if they are wanted."""
    target = None
    if source.filters is not None:
        here = None if source.spread is None else source.spread.here
        target = source.filters.squares(local(slot.parameter), source.draws_on, here)
        target = target if source.spread is None else source.spread.summed(target)
    kept = measured(source, seed, k, target, keep=keep)
    return kept if kept is None or source.spread is None else source.spread.stacked(kept, source.size)


def check_moves(slots: list[Slot], bias: str) -> None:
    """Reject parameters of which a random direction moves none.

    Args:
        slots: The parameters that may move.
        bias: What becomes of those that are 0-d or 1-D.

    Raises:
        ValueError: If all are, and stay.
    """
    if bias == "zero" and all(slot.parameter.dim() <= 1 for slot in slots):
        raise ValueError(
            "bias='zero' leaves no direction: every parameter that moves is 0-d or 1-D. Pass bias='match' to move them."
        )


def random_directions(
    model: nn.Module,
    k: int = 2,
    *,
    norm: Norm = "filter",
    bias: Literal["zero", "match"] = "zero",
    orthogonal: bool = False,
    seed: Seed = 0,
    parameters: ParameterChoice = None,
    generator: Literal["cpu", "device"] = "cpu",
    memory: Literal["normal", "low"] = "normal",
) -> Directions:
    r"""Draw random directions, normalised filter by filter.

    d ~ N(0, I), then d_f ← d_f · |p_f| / (|d_f| + 1e-10) for each filter f (Li et al. 2018, section 4,
    arXiv:1712.09913): one unit along d changes every filter by its own length, whatever the scale of the layer.

    The caller's random state is not touched: each parameter has a private stream, seeded by SHA-256 of
    ``seed/index/name``.

    Where parameters are spread over ranks (FSDP2), every rank must call this; each holds its part of the directions,
    which are the same for any number of ranks up to rounding.

    Args:
        model: Any module; it is only read.
        k: Number of directions.
        norm: "filter"; "layer" matches the length of each whole tensor; "none" keeps the draw.
        bias: What becomes of 0-d and 1-D parameters (biases, norm gains): "zero" as in Li et al., "match" rescales
            the whole vector like one filter, as topoadamw 0.1.0 does.
        orthogonal: Make the directions orthogonal as whole vectors, each keeping its length. The lengths of single
            filters are then matched only approximately.
        seed: Whole number, or a tuple of them.
        parameters: Restricts what moves; see :func:`movable`.
        generator: "cpu" gives the same direction on every device; "device" draws where the parameter is, which is
            faster for large models but differs between kinds of device.
        memory: "low" keeps only the lengths of filters and draws the directions again, block by block, whenever they
            are needed: for models of which k copies do not fit. The directions are the same.

    Returns:
        The directions, with tensors of shape (k, \*parameter.shape).

    Raises:
        ValueError: If an argument has a value other than those above, or the model has nothing to move.

    Example:
        >>> model = nn.Linear(3, 2, bias=False)
        >>> d = random_directions(model, 2, seed=0)
        >>> rows = torch.linalg.vector_norm(d.tensors["weight"][0], dim=1)
        >>> torch.allclose(rows, torch.linalg.vector_norm(model.weight.detach(), dim=1))
        True
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 direction, got {k}")
    if norm not in {"filter", "layer", "none"}:
        raise ValueError(f"norm must be 'filter', 'layer' or 'none', got {norm!r}")
    if bias not in {"zero", "match"}:
        raise ValueError(f"bias must be 'zero' or 'match', got {bias!r}")
    if generator not in {"cpu", "device"}:
        raise ValueError(f"generator must be 'cpu' or 'device', got {generator!r}")
    if memory not in {"normal", "low"}:
        raise ValueError(f"memory must be 'normal' or 'low', got {memory!r}")
    details = {"norm": norm, "bias": bias, "orthogonal": orthogonal, "seed": seed, "generator": generator}
    with resharded(model), torch.no_grad():
        slots = movable(model, parameters)
        check_moves(slots, bias)
        sources = [_source(slot, norm, bias, generator) for slot in slots]
        kept = [
            _prepared(slot, source, k, seed, keep=memory == "normal")
            for slot, source in zip(slots, sources, strict=True)
        ]
        if memory == "low":
            seeded = SeededTensors(sources, k, seed, orthogonal=orthogonal)
            return Directions(seeded, "random", details, left_out(model, slots))
        tensors = {source.name: one for source, one in zip(sources, kept, strict=True) if one is not None}
        if orthogonal:
            matrix = mixing(gram_of(list(tensors.values()), k))
            for tensor in tensors.values():
                mix_(tensor, matrix)
        return Directions(tensors, "random", details, left_out(model, slots))
