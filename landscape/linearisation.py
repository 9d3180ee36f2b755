"""Products of curvature with vectors on one batch of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

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
        found = torch.autograd.grad(
            targets, inputs, seeds, retain_graph=True, is_grads_batched=batched, allow_unused=True
        )
        lead = (k,) if batched else ()  # torch would leave it out of the zeros that it makes
        return tuple(
            tensor.new_zeros(*lead, *tensor.shape) if part is None else part
            for tensor, part in zip(inputs, found, strict=True)
        )

    if together and k > 1:
        with quiet_transforms():
            return [part.detach() for part in backward([vector for _, vector in alive], True)]
    rows = [backward([vector[i] for _, vector in alive], False) for i in range(k)]
    return [torch.stack(parts).detach() for parts in zip(*rows, strict=True)]


def gradients(value: Tensor, parameters: Sequence[nn.Parameter], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Differentiate a loss by parameters, without touching their ``.grad``.

    Args:
        value: The loss.
        parameters: By what; the gradient is zero where the loss does not depend on one.
        create_graph: Let the gradient be differentiated again.

    Returns:
        Shaped like the parameters.

    Raises:
        ValueError: If parameters may be behind a checkpoint that hides them.
    """
    found = torch.autograd.grad(value, parameters, create_graph=create_graph, allow_unused=True)
    check_hidden(value, found)
    return tuple(
        torch.zeros_like(parameter, requires_grad=create_graph) if part is None else part
        for parameter, part in zip(parameters, found, strict=True)
    )


def check_hidden(output: Tensor, found: Iterable[Tensor | None]) -> None:
    """Refuse gradients that lack what lies behind a reentrant checkpoint, which would count as zero.

    Such a checkpoint shows only its inputs to autograd, and gives parameters their gradients in ``backward()`` alone.

    Args:
        output: What was differentiated.
        found: By which parameters; None where no path leads to one.

    Raises:
        ValueError: If there is none for a parameter, and such a checkpoint in the graph.
    """
    hidden = any(part is None for part in found)
    if hidden and any(node.name().startswith("CheckpointFunction") for node in _nodes([output])):
        raise ValueError(
            "parameters within torch.utils.checkpoint cannot be differentiated by where it is called with "
            "use_reentrant=True; call checkpoint(..., use_reentrant=False), in Transformers "
            'gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False}), or name in '
            "parameters= only what comes after the checkpoints"
        )


def cut_off(gradient: Iterable[Tensor]) -> bool:
    """Find a function whose backward pass is not tracked; autograd would not complain but give zeros.

    Args:
        gradient: Computed with a graph.

    Returns:
        Whether the graph passes such a function.
    """
    return any(node.name().endswith("::Error") for node in _nodes(gradient))


def _nodes(tensors: Iterable[Tensor]) -> Iterator[Node]:
    """Go through a graph, each node once."""
    todo = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(todo)
    while todo:
        node = todo.pop()
        yield node
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        todo.extend(following)
