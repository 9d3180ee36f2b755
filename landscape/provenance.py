"""Where a surface comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .directions import Directions
from .gram import cosines_of
from .parameters import all_slots
from .points import Points
from .seeded import SeededTensors
from .shards import local, sharding


def at_rest(directions: Directions) -> list[str]:
    """Name the parameters that all directions leave where they are, as ``bias="zero"`` does with biases and gains.

    Where parameters are spread over ranks, every rank must call this, and gets the same.

    Args:
        directions: The directions.

    Returns:
        Canonical names, in the order of the directions.
    """
    moves = _drawn_moves if isinstance(directions.tensors, SeededTensors) else _kept_moves
    return [name for name in directions.tensors if not moves(directions, name)]


def _kept_moves(directions: Directions, name: str) -> bool:
    tensor = directions.tensors[name]
    found = local(tensor).any()
    spread = sharding(tensor, "a direction")
    return bool(found if spread is None else spread.summed(found.float()))


def _drawn_moves(directions: Directions, name: str) -> bool:
    """Draw until a number is not zero, which is the first but for filters of length zero."""
    tensors = directions.tensors
    assert isinstance(tensors, SeededTensors)
    walk = tensors.walk(name, range(len(directions)), whole=True)
    return any(bool(step.any()) for _, drawn in walk for _, steps in drawn for step in steps)


def provenance(model: nn.Module, directions: Directions, points: Points) -> dict[str, Any]:
    """Collect what a reader needs to judge a surface or make it again.

    Args:
        model: The model.
        directions: The directions.
        points: The points.

    Returns:
        JSON values by name.
    """
    from .. import __version__

    gram = directions.gram()  # once: over all parameters, it costs as much as some forward passes
    slots = [slot for slot in all_slots(model) if slot.canonical in directions.tensors]
    resting = at_rest(directions)
    still = set(resting)
    return {
        "lrscape": __version__,
        "torch": str(torch.__version__),
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters_moved": sum(slot.parameter.numel() for slot in slots if slot.canonical not in still),
        "parameters_total": sum(parameter.numel() for parameter in model.parameters()),
        "at_rest": resting,
        "left_out": list(directions.left_out),
        "dtypes": sorted({str(slot.parameter.dtype).removeprefix("torch.") for slot in slots}),
        "device": slots[0].parameter.device.type,
        "directions": directions.kind,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in directions.details.items()},
        "direction_norms": np.sqrt(np.diag(gram)).tolist(),
        "direction_cosines": cosines_of(gram).tolist(),
        "points": points.kind,
        "span": points.span,
    }
