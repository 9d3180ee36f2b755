"""Hessian-vector products by reverse over reverse."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .exhaustion import out_of_memory
from .kernels import twice_differentiable
from .linearisation import Linearisation, Loss, NoSecondDerivative, cut_off, differentiate, gradients


class ReverseHessian(Linearisation):
    """Reverse over reverse: the graph of the gradient is kept and differentiated once per vector.

    Args:
        model: The model.
        parameters: By which to differentiate.
        loss: Computes sum and weight.
    """

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter], loss: Loss) -> None:
        with twice_differentiable(model):
            value, self.weight = loss()
            try:
                self._gradient = gradients(value, parameters, create_graph=True)
            except (RuntimeError, NotImplementedError) as error:
                raise _finding(error) from error
        if cut_off(self._gradient):
            raise NoSecondDerivative("its graph passes a function that is marked with once_differentiable")
        self._parameters = parameters

    @property
    def linear(self) -> bool:
        """Whether the gradient has no graph: the loss is linear, or autograd does not say what it depends on."""
        return not any(part.requires_grad for part in self._gradient)

    def gradient(self) -> list[Tensor]:
        """Give the gradient of the batch's sum."""
        return [part.detach() for part in self._gradient]

    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        """Multiply; see the base class."""
        outputs, inputs = [self._gradient[i] for i in which], [self._parameters[i] for i in which]
        try:
            return differentiate(outputs, inputs, vectors, together)
        except (RuntimeError, NotImplementedError) as error:
            raise _finding(error) from error


def _finding(error: Exception) -> Exception:
    """Tell a missing second derivative from an exhausted memory."""
    return error if out_of_memory(error) else NoSecondDerivative(f"{error}")
