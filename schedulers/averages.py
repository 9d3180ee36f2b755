"""A running average of a model's weights and of its normalisation statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from ..landscape.parameters import ParameterChoice, movable, working_dtype
from ..landscape.shards import Sharding, is_spread, local, reshard, resharded, sharding


def _low(tensor: Tensor) -> bool:
    return tensor.element_size() < 4


SMALL = 1_000_000  # numbers; below, tensor-by-tensor calls cost more than copying everything into one vector


class RunningAverage:
    """θ̄ ← θ̄ + w·(θ − θ̄), with a weight w that the caller chooses each time.

    Averaged are the floating-point parameters that train and all floating-point buffers, so BatchNorm's running
    statistics are those of the averaged weights to first order. Half-precision tensors are averaged in float32: steps
    of a hundredth would be rounded away. Of parameters that are spread over ranks (FSDP2) each rank averages what it
    has. Memory: one copy of what is averaged, and, up to a million numbers, another one during an update.

    Source: Polyak and Juditsky 1992; with weights that reach over a fixed share of the past, Shamir and Zhang 2013,
    arXiv:1212.1824, section 4.

    Args:
        model: Whose weights.
        parameters: Restricts the parameters; see :func:`lrscape.landscape.random_directions`.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If there is nothing to average.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(1.0)
        >>> average = RunningAverage(model)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(3.0)
        >>> average.update(0.5)
        >>> with average.applied():
        ...     model.weight.item()
        2.0
    """

    def __init__(self, model: nn.Module, parameters: ParameterChoice = None) -> None:
        self.model = model
        movable(model, parameters)  # says what is wrong with the model, if anything
        with resharded(model):
            self._owned = [slot.parameter for slot in movable(model, parameters)]
        self._spread = [sharding(parameter) for parameter in self._owned]
        self._shapes = [tuple(parameter.shape) for parameter in self._owned]
        self._where = [
            (module, name)
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.is_floating_point()
        ]
        self.values = [tensor.to(working_dtype(tensor), copy=True) for tensor in self.live()]
        self._exact = not any(_low(tensor) for tensor in self.live())
        self._vector: Tensor | None = None
        same = len({(value.dtype, value.device) for value in self.values}) == 1
        if self._exact and same and sum(value.numel() for value in self.values) <= SMALL:
            self._vector = torch.cat([value.reshape(-1) for value in self.values])
            pieces = torch.split(self._vector, [value.numel() for value in self.values])
            self.values = [piece.view(value.shape) for piece, value in zip(pieces, self.values, strict=True)]

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that are averaged; of those that are spread over ranks (FSDP2), what is here."""
        pairs = zip(self._owned, self._spread, strict=True)
        return [parameter if spread is None else local(parameter) for parameter, spread in pairs]

    def live(self) -> list[Tensor]:
        """List what is averaged as it is now; buffers anew each time, since some modules assign them.

        Returns:
            Parameters, then buffers, without their graphs.
        """
        return [tensor.detach() for tensor in self._tensors()]

    def _tensors(self) -> list[Tensor]:
        buffers = (module._buffers[name] for module, name in self._where)
        return [*self.parameters, *(buffer for buffer in buffers if buffer is not None)]

    def update(self, weight: float) -> None:
        """Take the present weights in.

        Args:
            weight: w, from 0 (nothing changes) to 1 (the average becomes the present weights, whatever it was).
        """
        with torch.no_grad():
            if weight == 1:  # interpolated, NaN would stay NaN
                torch._foreach_copy_(self.values, self.live())
                return
            if self._vector is not None:
                self._vector.lerp_(torch.cat([tensor.reshape(-1) for tensor in self._tensors()]), weight)
                return
            live = self.live()
            if not self._exact:
                live = [tensor.float() if _low(tensor) else tensor for tensor in live]
            torch._foreach_lerp_(self.values, live, weight)

    def write_parameters(self) -> None:
        """Write the average into the model's parameters; the caller puts them back."""
        count = len(self._owned)
        reshard(self.model)  # or FSDP2 would go on with whole parameters that it has gathered before
        torch._foreach_copy_([tensor.detach() for tensor in self.parameters], self.values[:count])
        torch.clear_autocast_cache()  # a cast of the other weights would hide the move

    def write(self) -> None:
        """Write the average into the model's parameters and buffers, for good."""
        with resharded(self.model), torch.no_grad():
            torch._foreach_copy_(self.live(), self.values)
        torch.clear_autocast_cache()

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Let the model be its average for a while.

        On leaving, also by an exception, parameters and buffers are bitwise what they were, in the same storage and
        with the same version counters. Modes stay as they are: call ``model.eval()`` to evaluate.

        Yields:
            The model.
        """
        with resharded(self.model):
            live = self.live()
            kept = [tensor.clone() for tensor in live]
            held = [module._buffers[name] for module, name in self._where]
            versioned = tuple(tensor for tensor in live if not tensor.is_inference())
            try:
                with _unsafe_preserve_version_counter(versioned), torch.no_grad():
                    torch._foreach_copy_(live, self.values)
                torch.clear_autocast_cache()
                yield self.model
            finally:
                reshard(self.model)
                with _unsafe_preserve_version_counter(versioned), torch.no_grad():
                    torch._foreach_copy_(live, kept)
                for (module, name), buffer in zip(self._where, held, strict=True):
                    module._buffers[name] = buffer
                torch.clear_autocast_cache()

    def state(self) -> dict[str, Any]:
        """Give the average as tensors of its own memory, spread over ranks like the parameters.

        Returns:
            What ``torch.load(weights_only=True)`` accepts.
        """
        values = [value.clone() for value in self.values]
        for i, (spread, shape) in enumerate(zip(self._spread, self._shapes, strict=True)):
            if spread is not None:
                values[i] = spread.spread(values[i], shape)
        return {"values": values}

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the average.

        Args:
            state: What :meth:`state` gave.

        Raises:
            ValueError: If it belongs to a model of another shape.
        """
        own = [*self._shapes, *(tuple(value.shape) for value in self.values[len(self._shapes) :])]
        given = [tuple(value.shape) for value in state["values"]]
        if given != own:
            raise ValueError(
                f"the saved average has {len(given)} tensors, this model's has {len(own)}, or their shapes differ; "
                "load the state of a scheduler of the same model"
            )
        spreads = [*self._spread, *[None] * (len(own) - len(self._spread))]
        torch._foreach_copy_(self.values, [_here(*pair) for pair in zip(state["values"], spreads, strict=True)])


def _here(value: Tensor, spread: Sharding | None) -> Tensor:
    """Take what belongs here of a saved tensor, which may be whole or spread, as the model was then or is now."""
    if spread is None:
        whole: Tensor = value.full_tensor() if is_spread(value) else value  # type: ignore[attr-defined]
        return whole
    return local(value) if is_spread(value) else value[spread.here]
