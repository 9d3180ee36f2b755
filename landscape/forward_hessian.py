"""Hessian-vector products by forward over reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from .kernels import quiet_transforms, twice_differentiable
from .linearisation import Linearisation, Loss
from .parameters import Slot


class _Holder(nn.Module):
    """Owns the model, so that functional_call can swap its parameters while a closure over it runs."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self) -> tuple[Tensor, Tensor]:
        return self._loss()


class ForwardHessian(Linearisation):
    """Forward over reverse: the gradient is computed anew with every vector, and its tangent with it; keeps no graph.

    Args:
        model: The model.
        slots: By which parameters to differentiate.
        loss: Computes sum and weight.
        rewind: Puts the random state where the forward pass started.
    """

    kept = False

    def __init__(self, model: nn.Module, slots: list[Slot], loss: Loss, rewind: Callable[[], object]) -> None:
        self._model, self._holder, self._rewind = model, _Holder(model, loss), rewind
        self._at = {f"model.{slot.name}": slot.parameter.detach() for slot in slots}

    def _sum(self, moving: dict[str, Tensor], fixed: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        value, weight = functional_call(self._holder, {**fixed, **moving}, ())
        if not torch._C._functorch.is_gradtrackingtensor(value):
            raise ValueError(
                "mode='forward' differentiates the model it was given, but the loss does not depend on it: the closure "
                "calls another object (a DDP or compiled wrapper, say); pass that object, or use mode='reverse'"
            )
        self.weight = weight.detach()
        while torch._C._functorch.is_functorch_wrapped_tensor(self.weight):
            self.weight = torch._C._functorch.get_unwrapped(self.weight)
        return value, weight

    def _slopes(self, moving: dict[str, Tensor], fixed: dict[str, Tensor]) -> dict[str, Tensor]:
        slopes: dict[str, Tensor] = grad(self._sum, has_aux=True)(moving, fixed)[0]
        return slopes

    def gradient(self) -> list[Tensor]:
        """Give the gradient of the batch's sum."""
        self._rewind()
        with twice_differentiable(self._model, cheap=False):
            return list(self._slopes(self._at, {}).values())

    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        """Multiply; see the base class."""
        names = list(self._at)
        chosen = [names[i] for i in which]
        moving = {name: self._at[name] for name in chosen}
        fixed = {name: value for name, value in self._at.items() if name not in moving}

        def one(*tangents: Tensor) -> tuple[Tensor, ...]:
            tangent = dict(zip(chosen, tangents, strict=True))
            slopes = jvp(lambda point: self._slopes(point, fixed), (moving,), (tangent,))[1]
            return tuple(slopes[name] for name in chosen)

        with twice_differentiable(self._model, cheap=False), quiet_transforms():
            self._rewind()
            if together:
                return list(vmap(one, randomness="same")(*vectors))
            rows = []
            for i in range(len(vectors[0])):
                self._rewind()
                rows.append(one(*(vector[i] for vector in vectors)))
            return [torch.stack(parts) for parts in zip(*rows, strict=True)]
