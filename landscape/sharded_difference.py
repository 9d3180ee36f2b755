"""Hessian-vector products where FSDP2 has spread the parameters over ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from .ambient import noted_autocast
from .difference_hessian import DifferenceHessian
from .gram import Gram
from .linearisation import Loss
from .sharded_gradient import coarsest_precision, sharded_gradient
from .shards import local, sharding


class ShardedDifferenceHessian(DifferenceHessian):
    """The difference of two gradients, each the mean over ranks; all ranks multiply the same vectors in step.

    What it takes and gives is this rank's part of each parameter. Double backward does not work through FSDP2's hooks,
    and a difference needs none.

    Args:
        model: The model, resharded.
        parameters: By which to differentiate; they are moved and put back.
        loss: Computes sum and weight of this rank's loss.
        rewind: Puts the random state where the forward pass started.
    """

    def __init__(
        self, model: nn.Module, parameters: list[nn.Parameter], loss: Loss, rewind: Callable[[], object]
    ) -> None:
        super().__init__(parameters, loss, rewind)
        self._model = model
        self._spread = [sharding(parameter) for parameter in parameters]
        self._autocast: float | None = None  # not known before the loss was computed

    def gradient(self) -> list[Tensor]:
        """Give this rank's part of the mean over ranks."""
        self._rewind()
        with noted_autocast(self._model) as seen:
            gradient, _, self.weight = sharded_gradient(self._model, self._parameters, self._loss)
        self._autocast = seen[0]
        return gradient

    def moved(self, which: Sequence[int]) -> list[Tensor]:
        """Give what is written to: this rank's parts; see the base class."""
        return [local(self._parameters[i]) for i in which]

    def precision(self, which: Sequence[int]) -> float:
        """Give the precision of the parameters, of FSDP2's policy or of autocast, the coarsest; see the base class."""
        if self._autocast is None:
            self.gradient()
        return max(super().precision(which), coarsest_precision(self._model), self._autocast or 0.0)

    def length(self, tensors: Sequence[Tensor], which: Sequence[int]) -> float:
        """Compute the length of the whole vector, the same on every rank; see the base class."""
        gram = Gram(1)
        for tensor, i in zip(tensors, which, strict=True):
            gram.add(tensor.reshape(1, -1), self._spread[i])
        return math.sqrt(float(gram.total()[0, 0]))
