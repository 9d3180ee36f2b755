"""Checks of what schedulers that follow the Hessian are constructed with."""

from __future__ import annotations

import math
from typing import get_args

from ..landscape.hvp import Mode
from ..landscape.kappa import KappaMethod
from ..landscape.modes import check_batch_norm
from ..landscape.stability import check_optimizer


def check_curvature(
    optimizer: object,
    criterion: str,
    margin: float,
    smoothing: float | None,
    tolerance: float,
    max_hvps: int,
    method: str,
    batch_norm: str,
    mode: str,
) -> None:
    """Reject options that are unknown or out of range.

    Args:
        optimizer: What the user passed.
        criterion: "sharpness" or "kappa".
        margin: Share of the edge.
        smoothing: Weight of the past, or None.
        tolerance: Relative residual.
        max_hvps: Products of a probe.
        method: How κ is measured.
        batch_norm: BatchNorm policy.
        mode: How products are computed.

    Raises:
        TypeError: If the optimizer is none.
        ValueError: If an option is wrong, or the optimizer's edge is not known and has to be.
    """
    if criterion not in {"sharpness", "kappa"}:
        raise ValueError(f"criterion must be 'sharpness' or 'kappa', got {criterion!r}")
    if not 0 < margin <= 1:
        raise ValueError(f"margin must be above 0 and at most 1, the edge itself, got {margin}")
    if smoothing is not None and not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be at least 0 and below 1, got {tolerance}")
    if not isinstance(max_hvps, int) or max_hvps < 1:
        raise ValueError(f"max_hvps must be a whole number of at least 1, got {max_hvps!r}")
    if method not in get_args(KappaMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(KappaMethod))}, got {method!r}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    check_batch_norm(batch_norm)
    if criterion == "sharpness":
        try:
            check_optimizer(optimizer)
        except ValueError as error:
            raise ValueError(f"{error}; criterion='kappa' takes any") from None


def check_positive(**numbers: float) -> None:
    """Reject numbers that are not positive and finite.

    Args:
        **numbers: By the name of the argument.

    Raises:
        ValueError: If one is not.
    """
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
