"""Checks of what a scheduler is constructed with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..landscape.stability import unwrapped

Bound = float | Sequence[float]
OnError = Literal["raise", "skip"]


def per_group(name: str, bound: Bound, optimizer: Optimizer) -> list[float]:
    """Expand a bound to one number per parameter group.

    Args:
        name: Name of the argument.
        bound: One number, or one per group.
        optimizer: Whose groups.

    Returns:
        One number per group.

    Raises:
        TypeError: If there is something else than numbers.
        ValueError: If the count is wrong or a number is not positive and finite.
    """
    groups = len(optimizer.param_groups)
    try:
        values = [float(value) for value in _each(bound, groups)]
    except (TypeError, ValueError) as error:  # a text, None, a tensor with more than one number
        raise TypeError(f"{name} must be one number or one per parameter group, got {bound!r}") from error
    if len(values) != groups:
        raise ValueError(f"{name} must be one number or one per parameter group ({groups}), got {len(values)}")
    if any(not (math.isfinite(value) and value > 0) for value in values):
        raise ValueError(f"{name} must be positive and finite, got {bound}")
    return values


def _each(bound: Any, groups: int) -> Sequence[Any]:
    """Repeat one number, which may be numpy's or a 0-d tensor."""
    if isinstance(bound, str):
        raise TypeError("a text is a sequence, but not of numbers")
    if isinstance(bound, Sequence):
        return bound
    return [bound] * groups if isinstance(bound, (int, float)) or getattr(bound, "ndim", None) == 0 else list(bound)


def check_on_error(value: str) -> None:
    """Reject an unknown way to take errors.

    Args:
        value: What the user passed.

    Raises:
        ValueError: If it is neither "raise" nor "skip".
    """
    if value not in get_args(OnError):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {value!r}")


def check_inner(inner: object, optimizer: Optimizer) -> None:
    """Reject what cannot be composed.

    Args:
        inner: What the user passed.
        optimizer: The optimizer of the outer scheduler.

    Raises:
        TypeError: If it is no scheduler, or one whose step needs a metric.
        ValueError: If it belongs to another optimizer.
    """
    if isinstance(inner, ReduceLROnPlateau) or not isinstance(inner, LRScheduler):
        raise TypeError(f"inner must be a torch LRScheduler that steps without arguments, got {type(inner).__name__}")
    if unwrapped(inner.optimizer) is not unwrapped(optimizer):
        raise ValueError("inner must belong to the same optimizer; construct both with it")
