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

    return {
        "lrscape": __version__,
        "torch": str(torch.__version__),
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters_moved": sum(slot.parameter.numel() for slot in slots),
        "parameters_total": sum(parameter.numel() for parameter in model.parameters()),
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
