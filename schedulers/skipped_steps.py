"""Calls of an optimizer's step() that are none."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from ..landscape.shards import local


def skips_step(optimizer: Optimizer) -> bool:
    """Tell, in a hook of ``step()``, whether the parameters are left alone.

    - A gradient overflowed: a GradScaler does not call ``step()`` then, except on optimizers that unscale within their
      kernel (``fused=True``); these find the verdict in ``found_inf``. Looking at it waits for the device.
    - torch.distributed.checkpoint makes an optimizer's state by a step with zero gradients at zero rates.

    Args:
        optimizer: Whose step is about to be taken, or has been.

    Returns:
        Whether it is none.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> p.grad = torch.zeros(1)
        >>> skips_step(torch.optim.SGD([p], lr=0.0)), skips_step(torch.optim.SGD([p], lr=0.1))
        (True, False)
    """
    found = getattr(optimizer, "found_inf", None)
    if found is not None and float(found) != 0:
        return True
    if not all(_is_zero(group["lr"]) for group in optimizer.param_groups):
        return False
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return bool(gradients) and not any(bool(local(gradient).any()) for gradient in gradients)


def _is_zero(rate: float | Tensor) -> bool:
    """Look at a rate, but not at one on an accelerator, which would have to be waited for."""
    return not (isinstance(rate, Tensor) and rate.device.type != "cpu") and float(rate) == 0
