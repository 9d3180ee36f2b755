"""The loss on a random plane of each parameter group by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn
from torch.optim import Optimizer

from ..landscape import LossSurface, Points, features, points, random_directions
from ..landscape.closure import Closure
from ..landscape.draws import Seed
from ..landscape.engines import Engine
from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice, all_slots, movable
from ..landscape.ranks import Ranks
from ..landscape.shards import any_spread, local, resharded
from ..landscape.sweep import sweep


@dataclass(frozen=True, eq=False)
class PerLayerTopoMeasurement:
    """The curvature on one random plane per parameter group.

    Attributes:
        loss: Loss at the centre of all planes, ℓ0.
        curvature: The largest of the groups that were probed; 0 if none was.
        roughness: The largest root mean square of what a group's quadratic fit leaves, in units of the loss.
        groups: Largest eigenvalue of the in-plane Hessian fitted for each group, loss per unit² of the directions. 0
            for a group with nothing to move, and where the loss is the same all over the plane.
    """

    loss: float
    curvature: float
    roughness: float
    groups: tuple[float, ...]


def names_by_group(
    model: nn.Module, optimizer: Optimizer, bias: str, parameters: ParameterChoice
) -> list[frozenset[str]]:
    """Find which parameters of the model each group moves.

    The answer does not depend on values, so that it is the same on all ranks.

    Args:
        model: The model.
        optimizer: Whose groups.
        bias: "zero" if 0-d and 1-D parameters stay.
        parameters: Restricts what moves.

    Returns:
        Canonical names, for each group; of a group of which nothing moves there are none.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If the model has nothing to move.

    Example:
        >>> from torch import optim
        >>> model = nn.Linear(2, 1)
        >>> groups = [{"params": [model.weight]}, {"params": [model.bias]}]
        >>> [sorted(names) for names in names_by_group(model, optim.SGD(groups), "zero", None)]
        [['weight'], []]
    """
    found = []
    with resharded(model):
        slots = movable(model, parameters)
        for group in getattr(optimizer, "param_groups", ()):  # the base class says what is no optimizer
            held = {id(parameter) for parameter in group["params"]}
            own = [slot for slot in slots if id(slot.parameter) in held]
            moves = any(slot.parameter.dim() > 1 or bias != "zero" for slot in own)
            found.append(frozenset(slot.canonical for slot in own) if moves else frozenset())
    return found


def _among(names: frozenset[str]) -> Callable[[str, nn.Parameter], bool]:
    return lambda name, _: name in names


def _with_length(model: nn.Module, groups: Sequence[frozenset[str]], bias: str) -> list[bool]:
    """Tell of which groups something has a length to move by: not of those whose parameters are all 0."""
    with resharded(model):
        moving = [slot for slot in all_slots(model) if slot.parameter.dim() > 1 or bias != "zero"]
        spread = any_spread(slot.parameter for slot in moving)
        found = [any(bool(local(s.parameter).any()) for s in moving if s.canonical in names) for names in groups]
    # Of parameters that are spread over ranks each sees a part, but all must go through the same planes.
    return [any(seen) for seen in zip(*Ranks().gather(found), strict=True)] if spread else found


def _read(surface: LossSurface) -> tuple[float, float]:
    """Fit the bowl: its curvature and roughness, not a number where anything of the plane overflows."""
    found = features(surface)
    fit = found.fit
    numbers = (found.center, found.sharpness, found.variance, fit.roughness, *fit.gradient, *fit.eigenvalues)
    if not all(map(math.isfinite, numbers)):
        return math.nan, math.nan
    if (surface.losses == surface.center).all():
        return 0.0, 0.0  # and not what rounding makes of it
    return float(fit.eigenvalues[-1]), fit.roughness


def measure_group_planes(
    model: nn.Module,
    closure: Closure,
    groups: Sequence[frozenset[str]],
    stencil: Points,
    *,
    bias: Literal["zero", "match"],
    seed: Seed,
    parameters: ParameterChoice,
    engine: Engine,
    batch_norm: BatchNorm,
) -> tuple[PerLayerTopoMeasurement, int]:
    """Measure the loss on a filter-normalised random plane of each group, leaving no trace.

    Parameters have random streams by name: each group's directions are those of the whole model, restricted to what
    the group moves.

    Args:
        model: The model.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        groups: What each moves, by canonical name.
        stencil: Where on the planes, the centre first.
        bias: What becomes of 1-D parameters.
        seed: Of the directions.
        parameters: What may move in all.
        engine: See :func:`lrscape.landscape.evaluate`.
        batch_norm: Likewise.

    Returns:
        The measurement (under torch.distributed of the mean loss over ranks), and at how many points beside the centre
        the loss was another. Without a group that moves only the loss is measured.
    """

    def plane(chosen: ParameterChoice, where: Points) -> LossSurface:
        directions = random_directions(model, 2, bias=bias, seed=seed, parameters=chosen)
        return sweep(model, closure, directions, where, engine=engine, batch_norm=batch_norm)

    curvatures, losses, different = [0.0] * len(groups), [], 0
    bowls = []
    for number, (names, long) in enumerate(zip(groups, _with_length(model, groups, bias), strict=True)):
        if not long:
            continue
        surface = plane(_among(names), stencil)
        losses.append(surface.center)
        different += int((surface.losses != surface.center).sum())
        bowls.append(_read(surface))
        curvatures[number] = bowls[-1][0]
    if not bowls:
        losses, bowls = [plane(parameters, points([[0.0, 0.0]])).center], [(0.0, 0.0)]
    top, roughness = np.max(bowls, axis=0).tolist()  # not a number where one is not
    return PerLayerTopoMeasurement(losses[0], top, roughness, tuple(curvatures)), different
