"""One parameter group per layer, so that layers can have rates of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..landscape.parameters import ParameterChoice, canonical_name, movable


def layer_param_groups(model: nn.Module, *, parameters: ParameterChoice = None, **options: Any) -> list[dict[str, Any]]:
    """Split a model's parameters into one group per layer, for any torch optimizer.

    A layer is a module that holds parameters of its own; what several layers share belongs to the first.

    Args:
        model: Any module.
        parameters: Restricts what is listed, by default to what requires a gradient; see
            :func:`lrscape.landscape.random_directions`.
        **options: Put into every group, e.g. ``lr`` or ``weight_decay``; the second and later ones get copies of
            tensors.

    Returns:
        Groups with the name of their layer under "layer", in the model's order; "" is the model itself.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If nothing is left to train.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> [(group["layer"], len(group["params"]), group["lr"]) for group in layer_param_groups(model, lr=0.1)]
        [('0', 2, 0.1), ('2', 2, 0.1)]
    """
    names = {id(module): canonical_name(name) for name, module in model.named_modules()}
    groups: dict[int, dict[str, Any]] = {}
    for slot in movable(model, parameters):
        layer = id(slot.module)
        if layer not in groups:
            own = {
                key: value.clone() if groups and isinstance(value, Tensor) else value for key, value in options.items()
            }
            groups[layer] = {"params": [], "layer": names[layer], **own}
        groups[layer]["params"].append(slot.parameter)
    return list(groups.values())


def named_by_layer(groups: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Name one number for each parameter group by its layer, or by its place where it has none.

    Args:
        groups: Parameter groups of an optimizer.
        values: One for each of the first of them.

    Returns:
        The numbers by name.

    Example:
        >>> named_by_layer([{"layer": "0"}, {"layer": ""}, {}], [1.0, 2.0, 3.0])
        {'layer 0': 1.0, 'layer of the model itself': 2.0, 'group 2': 3.0}
    """
    layers = [group.get("layer") for group in groups]
    names = [
        f"group {i}" if layer is None else f"layer {layer or 'of the model itself'}" for i, layer in enumerate(layers)
    ]
    return dict(zip(names, values, strict=False))
