"""Which schedulers can steer an optimizer from within."""

from __future__ import annotations

from torch.optim import Optimizer

from ..landscape.stability import check_optimizer
from ..schedulers import InducedMetricLR, LandscapeLR, PerLayerHomotopyLR, PerLayerTopoLR
from ..schedulers.curvature import CurvatureLR


def check_steerable(controller: LandscapeLR, optimizer: Optimizer) -> None:
    """Reject a scheduler that needs more than what it measures at a probe.

    Within an optimizer it has groups without parameters, and nobody calls its ``step()``.

    Args:
        controller: The scheduler, of the stand-in optimizer.
        optimizer: The optimizer to steer.

    Raises:
        TypeError: If its rule reads gradients or compares groups, goes on in ``step()``, or has an ``inner``.
        ValueError: If it needs an edge of stability that is not known of the optimizer.
    """
    name = type(controller).__name__
    lacks = None
    if isinstance(controller, InducedMetricLR):
        lacks = "reads the gradients of its optimizer before each step"
    elif isinstance(controller, PerLayerHomotopyLR | PerLayerTopoLR):
        lacks = "compares the groups of its optimizer, with the rates that it has given them"
    elif type(controller).step is not LandscapeLR.step:
        lacks = "does a part of its work in step(), which nobody calls here"
    if lacks is not None:
        raise TypeError(
            f"{name} {lacks}, so it cannot steer {type(optimizer).__name__} from within: attach it to the optimizer "
            f"directly, as {name}(optimizer, ...) with a plain optimizer class"
        )
    if controller._inner is not None:
        raise TypeError(
            f"{name} was given inner={type(controller._inner).__name__}, which nobody steps within "
            f"{type(optimizer).__name__}: attach that to the optimizer directly, whose plain rates it may set"
        )
    if isinstance(controller, CurvatureLR) and controller.criterion == "sharpness":
        try:
            check_optimizer(optimizer)
        except ValueError as error:
            raise ValueError(f"{error}; criterion='kappa' takes any") from None
