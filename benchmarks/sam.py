"""Sharpness-aware minimisation in its plainest form, to compare with (Foret et al. 2020, arXiv:2010.01412)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def sam_backward(loss: Callable[[], Tensor], parameters: Iterable[Tensor], rho: float) -> Tensor:
    """Leave the gradient at θ + ρ·g/|g| in ``.grad``, with θ unchanged: two passes forward and backward.

    Args:
        loss: Returns the loss at the current parameters.
        parameters: θ.
        rho: Length of the step uphill.

    Returns:
        The loss at θ.
    """
    thetas = list(parameters)
    first = loss()
    gradients = torch.autograd.grad(first, thetas)
    scale = rho / torch.stack([g.norm() for g in gradients]).norm().clamp_min(1e-12)
    kept = [theta.detach().clone() for theta in thetas]
    with torch.no_grad():
        torch._foreach_add_(thetas, torch._foreach_mul(gradients, scale))
    loss().backward()
    with torch.no_grad():
        torch._foreach_copy_(thetas, kept)
    return first.detach()
