"""Hessian-vector products by a difference of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from .linearisation import Linearisation, Loss, gradients


class DifferenceHessian(Linearisation):
    """Central difference of two gradients: Hv ≈ (∇L(θ + hv) − ∇L(θ − hv)) / 2h; keeps no graph.

    h|v| = ∛(ε·(1 + |θ|)) with ε the precision of the coarsest parameter, which balances rounding and truncation, as
    Knoll & Keyes 2004, section 2 ("Jacobian-free Newton–Krylov methods"), do for one-sided differences.

    Args:
        parameters: By which to differentiate; they are moved and put back.
        loss: Computes sum and weight.
        rewind: Puts the random state where the forward pass started.
    """

    kept = False

    def __init__(self, parameters: list[nn.Parameter], loss: Loss, rewind: Callable[[], object]) -> None:
        self._parameters, self._loss, self._rewind = parameters, loss, rewind

    def gradient(self) -> list[Tensor]:
        """Give the gradient of the batch's sum."""
        self._rewind()
        with torch.enable_grad():
            value, self.weight = self._loss()
            return list(gradients(value, self._parameters))

    def moved(self, which: Sequence[int]) -> list[Tensor]:
        """Give what is written to.

        Args:
            which: Numbers of the parameters.

        Returns:
            Tensors that share their memory and their version counters.
        """
        return [self._parameters[i].detach() for i in which]

    def precision(self, which: Sequence[int]) -> float:
        """Give the precision with which the loss sees parameters.

        Args:
            which: Their numbers.

        Returns:
            The largest machine epsilon.
        """
        return max(torch.finfo(self._parameters[i].dtype).eps for i in which)

    def length(self, tensors: Sequence[Tensor], which: Sequence[int]) -> float:
        """Compute the length of a vector.

        Args:
            tensors: One for each parameter, or what is here of it.
            which: Numbers of the parameters.

        Returns:
            The square root of the sum of squares.
        """
        return math.sqrt(float(sum(tensor.double().square().sum() for tensor in tensors)))

    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        """Multiply, one vector after the other; see the base class."""
        moved = self.moved(which)
        start = [parameter.clone() for parameter in moved]
        reach = (self.precision(which) * (1 + self.length(start, which))) ** (1 / 3)
        rows = []
        for k in range(len(vectors[0])):
            steps = [vector[k] for vector in vectors]
            norm = self.length(steps, which)
            h = reach / norm if norm > 0 else 1.0
            slopes = []
            with _unsafe_preserve_version_counter(tuple(moved)):
                try:
                    for sign in (1.0, -1.0):
                        torch._foreach_copy_(moved, start)
                        torch._foreach_add_(moved, steps, alpha=sign * h)
                        torch.clear_autocast_cache()  # a stale cast would hide the move
                        slopes.append(self.gradient())
                finally:
                    torch._foreach_copy_(moved, start)
                    torch.clear_autocast_cache()
            rows.append([(slopes[0][i] - slopes[1][i]) / (2 * h) for i in which])
        return [torch.stack(parts) for parts in zip(*rows, strict=True)]
