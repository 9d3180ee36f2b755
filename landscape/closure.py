"""What the engines evaluate, and a closure as the simplest case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Closure = Callable[[], Tensor]


class Task(Protocol):
    """What the engines evaluate: named values over units of data."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values, the loss first."""
        ...

    @property
    def loader(self) -> object:
        """What the data is read from, if anything."""
        ...

    def units(self, device: torch.device) -> Iterator[Any]:
        """Iterate over one pass of the data."""
        ...

    def size(self) -> int | None:
        """Number of units, if it is known."""
        ...

    def values(self, model: nn.Module, unit: Any) -> tuple[Tensor, Tensor]:
        """Compute sums and weights, each of shape (number of names,)."""
        ...


def accumulator(tensor: Tensor) -> torch.dtype:
    """Choose the dtype in which losses are summed.

    Args:
        tensor: A loss.

    Returns:
        float64; float32 on MPS, which has no other.
    """
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def check_scalar(
    value: object,
    name: str,
    needed: str = "a 0-d torch.Tensor",
    reduction: str = "reduce it with .mean() or .sum()",
) -> Tensor:
    """Check that a loss or metric is a real 0-d tensor.

    Args:
        value: What the user's function returned.
        name: How to call it in the message.
        needed: What it must return.
        reduction: What to do with a tensor that has dimensions.

    Returns:
        The same tensor.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If it has dimensions, or is complex.
    """
    if not isinstance(value, Tensor):
        inside = hasattr(value, "loss") or (isinstance(value, Mapping) and "loss" in value)
        advice = "return its loss alone" if inside else "return the loss itself, without .item() or float()"
        raise TypeError(f"{name} must return {needed}, got {type(value).__name__}; {advice}")
    if value.dim() != 0:
        raise ValueError(f"{name} must return {needed}, got shape {tuple(value.shape)}; {reduction}")
    if value.is_complex():
        raise ValueError(f"{name} must return a real number, got {value.dtype}")
    return value


_NO_BACKWARD = (
    "the closure must only compute the loss, but it calls backward(): leave zero_grad() and backward() to the training "
    "step, and pass e.g. lambda: criterion(model(x), y)"
)


class ClosureTask:
    """A loss-only closure as a task of one unit."""

    names: tuple[str, ...] = ("loss",)
    loader: object = None

    def __init__(self, closure: Closure) -> None:
        self.closure = closure
        self._parameters: list[nn.Parameter] | None = None

    def units(self, device: torch.device) -> Iterator[None]:
        """Iterate once.

        Args:
            device: Not needed: a closure brings its own data.

        Yields:
            None.
        """
        yield None

    def size(self) -> int:
        """Count the units.

        Returns:
            1.
        """
        return 1

    def values(self, model: nn.Module, unit: Any) -> tuple[Tensor, Tensor]:
        """Call the closure.

        Args:
            model: The model whose gradients the closure must leave alone.
            unit: None.

        Returns:
            The loss and the weight 1, each of shape (1,).

        Raises:
            ValueError: If the closure runs a backward pass.
            RuntimeError: Whatever the closure itself raises.
        """
        try:
            loss = check_scalar(self.closure(), "the closure").detach()
        except RuntimeError as error:
            if "does not require grad" in str(error):
                raise ValueError(_NO_BACKWARD) from error
            raise
        if self._parameters is None:
            self._parameters = list(
                model.parameters()
            )  # once: walking through the modules costs as much as a small layer
        if any(parameter.grad is not None for parameter in self._parameters):  # gradients are taken away meanwhile
            raise ValueError(_NO_BACKWARD)
        loss = loss.to(accumulator(loss)).reshape(1)
        return loss, torch.ones_like(loss)


class OneUnit:
    """One unit of a task's data, as a task.

    Args:
        task: The task.
        unit: One of its units.
    """

    def __init__(self, task: Task, unit: Any) -> None:
        self._task, self._unit = task, unit
        self.names: tuple[str, ...] = task.names
        self.loader: object = None

    def units(self, device: torch.device) -> Iterator[Any]:
        """Iterate once.

        Args:
            device: Not needed: the unit is where it is.

        Yields:
            The unit.
        """
        yield self._unit

    def size(self) -> int:
        """Count the units.

        Returns:
            1.
        """
        return 1

    def values(self, model: nn.Module, unit: Any) -> tuple[Tensor, Tensor]:
        """Compute what the task computes.

        Args:
            model: The model at some point.
            unit: The unit.

        Returns:
            Sums and weights.
        """
        return self._task.values(model, unit)
