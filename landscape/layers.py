"""Directions that move one layer at a time."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from torch import nn

from .directions import Directions
from .parameters import ParameterChoice, movable
from .random_directions import random_directions


def layer_directions(
    model: nn.Module,
    k: int = 2,
    *,
    parameters: ParameterChoice = None,
    bias: Literal["zero", "match"] = "zero",
    **options: Any,
) -> dict[str, Directions]:
    """Draw random directions for each layer alone, for one landscape per layer.

    A layer is a module that holds parameters of its own. The parts are those of one and the same draw: for each seed
    ``random_directions(model, k, seed=seed)`` is the sum of its layers, so that a step along all layers at once can
    be compared with the steps along each.

    Args:
        model: Any module; it is only read.
        k: Number of directions.
        parameters: Restricts what moves; see :func:`~lrscape.landscape.parameters.movable`.
        bias: As in :func:`~lrscape.landscape.random_directions`; with "zero", layers that have nothing but biases and
            gains are left out.
        **options: Further options of :func:`~lrscape.landscape.random_directions`.

    Returns:
        By the name of the layer, in the model's order; a parameter of the model itself is under "".

    Raises:
        ValueError: If no layer is left.

    Example:
        >>> list(layer_directions(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))))
        ['0', '2']
    """
    layers: dict[str, list[str]] = {}
    for slot in movable(model, parameters):
        owner = slot.canonical.rpartition(".")[0].partition("parametrizations.")[0].rstrip(".")
        if bias != "zero" or slot.parameter.dim() > 1:
            layers.setdefault(owner, [])
        if owner in layers:
            layers[owner].append(slot.canonical)
    if not layers:
        raise ValueError("bias='zero' leaves no layer: every parameter is 0-d or 1-D. Pass bias='match' to move them.")
    made = {}
    for layer, names in layers.items():
        made[layer] = random_directions(model, k, parameters=partial(_named, frozenset(names)), bias=bias, **options)
    return made


def _named(names: frozenset[str], name: str, _: nn.Parameter) -> bool:
    return name in names
