"""Checks of what ValleyLR is constructed with."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def check_ends(start: float | None, alpha: float, brake: float, total_steps: int | None, decay: float) -> None:
    """Reject numbers out of range.

    Args:
        start: Rate of the first step, or None.
        alpha: How fast the average's window grows.
        brake: Loss over its reference that is too much.
        total_steps: Optimizer steps in all, or None.
        decay: Share of them in which the rate falls.

    Raises:
        ValueError: If one is out of range.
    """
    if start is not None and not (math.isfinite(start) and start > 0):
        raise ValueError(f"start must be positive and finite, or None for the optimizer's own rate, got {start}")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be above 0 and at most 1, got {alpha}")
    if not brake > 1:
        raise ValueError(f"brake must be above 1, got {brake}")
    if total_steps is not None and (not isinstance(total_steps, int) or total_steps < 1):
        raise ValueError(f"total_steps must be a whole number of at least 1, or None, got {total_steps!r}")
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1, got {decay}")


def reference_rate(optimizer: Optimizer) -> float:
    """Find the largest of the groups' initial rates; ratios between groups are relative to it.

    Args:
        optimizer: Whose groups.

    Returns:
        The rate.

    Raises:
        ValueError: If all are zero.
    """
    rate = max(float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups)
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(
            f"optimizer has no positive learning rate to keep the ratios of, got {rate}; any value does, e.g. lr=1.0"
        )
    return rate
