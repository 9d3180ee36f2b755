"""Products of curvature with vectors on one batch of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from .kernels import quiet_transforms

Loss = Callable[[], tuple[Tensor, Tensor]]  # sum and weight of one batch, with their graph


class NoSecondDerivative(RuntimeError):  # noqa: N818  mostly a finding that leads to another mode, not an error
    """The loss cannot be differentiated twice."""


class Linearisation(ABC):
    """A model at its weights on one batch, ready to be multiplied with vectors.

    Attributes:
        weight: By what the batch counts, a 0-d tensor.
        kept: Whether it holds a graph that further products can use.
    """

    weight: Tensor
    kept: bool = True

    @abstractmethod
    def gradient(self) -> list[Tensor]:
        """Give the gradient of the batch's sum, one tensor per parameter."""

    @abstractmethod
    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        r"""Multiply some rows and columns of the batch's sum.

        Args:
            vectors: For each parameter of ``which``, shape (k, \*parameter.shape).
            which: Numbers of the parameters.
            together: All k in one pass, under vmap.

        Returns:
            Shaped like ``vectors``.
        """


def differentiate(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], together: bool
) -> list[Tensor]:
    r"""Multiply k vectors with a transposed Jacobian, and keep the graph.

    Args:
        outputs: What is differentiated; those without a graph count as constants.
        inputs: By what.
        vectors: Shaped like ``outputs`` with a leading k.
        together: All k in one backward pass, under vmap.

    Returns:
        Σ_o J_oᵀ v_o, of shape (k, \*input.shape) for each input.
    """
    k = len(vectors[0])
    alive = [(output, vector) for output, vector in zip(outputs, vectors, strict=True) if output.requires_grad]
    if not alive:
        return [torch.zeros(k, *tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in inputs]
    targets = [output for output, _ in alive]

    def backward(seeds: list[Tensor], batched: bool) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            targets,
            inputs,
            seeds,
            retain_graph=True,
            is_grads_batched=batched,
            allow_unused=True,
            materialize_grads=True,
        )

    if together and k > 1:
        with quiet_transforms():
            return [part.detach() for part in backward([vector for _, vector in alive], True)]
    rows = [backward([vector[i] for _, vector in alive], False) for i in range(k)]
    return [torch.stack(parts).detach() for parts in zip(*rows, strict=True)]


def cut_off(gradient: Iterable[Tensor]) -> bool:
    """Find a function whose backward pass is not tracked; autograd would not complain but give zeros.

    Args:
        gradient: Computed with a graph.

    Returns:
        Whether the graph passes such a function.
    """
    todo = [part.grad_fn for part in gradient if part.grad_fn is not None]
    seen = set(todo)
    while todo:
        node = todo.pop()
        if node.name().endswith("::Error"):
            return True
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        todo.extend(following)
    return False
