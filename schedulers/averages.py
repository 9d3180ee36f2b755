"""A running average of a model's weights and of its normalisation statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from ..landscape.parameters import ParameterChoice, all_slots, movable, repeatable, working_dtype
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

    The model may change meanwhile. Parameters that are unfrozen join in with what they are at the next update, and
    another precision or device is followed. A buffer starts anew when its shape has changed, and number by number where
    it or its average is not finite: a mask of −∞ stays one.

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
        self._choice = repeatable(parameters)
        movable(model, self._choice)  # says what is wrong with the model, if anything
        self._where = [
            (module, name)
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None and buffer.is_floating_point()
        ]
        self._owned: list[nn.Parameter] = []
        self._spread: list[Sharding | None] = []
        self._vector: Tensor | None = None
        self.values = [_copied(buffer) for buffer in self._tensors() if buffer is not None]
        self._kinds: list[Any] = []  # of what is averaged, when values were last made to fit
        self._choose()

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that are averaged; of those that are spread over ranks (FSDP2), what is here."""
        pairs = zip(self._owned, self._spread, strict=True)
        return [parameter if spread is None else local(parameter) for parameter, spread in pairs]

    # What is averaged

    def admit(self) -> None:
        """Take in parameters that have been unfrozen since, with what they are now."""
        if any(parameter.requires_grad for parameter in self._frozen):
            self._choose()

    def _choose(self) -> None:
        """List the parameters that are chosen now or were before, in the order of the model."""
        count = len(self._owned)
        before = {id(parameter): value for parameter, value in zip(self._owned, self.values[:count], strict=True)}
        with resharded(self.model):
            chosen = {id(slot.parameter) for slot in movable(self.model, self._choice)} | before.keys()
            everything = [slot.parameter for slot in all_slots(self.model)]
        self._owned = [parameter for parameter in everything if id(parameter) in chosen]
        self._spread = [sharding(parameter) for parameter in self._owned]
        frozen = [p for p in everything if id(p) not in chosen and not p.requires_grad and p.is_floating_point()]
        self._frozen = [] if isinstance(self._choice, list) else frozen  # those that may be unfrozen
        here = zip(self._owned, self.parameters, strict=True)
        values = [before[id(owned)] if id(owned) in before else _copied(tensor) for owned, tensor in here]
        self.values = values + self.values[count:]
        self._kinds = []
        self._fit()

    def _tensors(self) -> list[Tensor | None]:
        """List what is averaged as it is now; buffers anew each time, since some modules assign them."""
        buffers = (module._buffers.get(name) for module, name in self._where)
        return [*self.parameters, *(b if b is not None and b.is_floating_point() else None for b in buffers)]

    def _fit(self) -> list[Tensor]:
        """List what is averaged as it is now; where its shape has changed, the average starts anew."""
        tensors = self._tensors()
        kinds = [None if tensor is None else (tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]
        if kinds != self._kinds:
            self._kinds = kinds
            self.values = [_fitted(*pair) for pair in zip(self.values, tensors, strict=True)]
            self._join(tensors)
        return [value if tensor is None else tensor for value, tensor in zip(self.values, tensors, strict=True)]

    def _join(self, tensors: list[Tensor | None]) -> None:
        """Lay values, or else those of buffers, next to each other in one vector, if they are alike and not many."""
        count, self._vector, self._first, self._buffers = len(self._owned), None, len(self.values), 0
        for first in (0, count):
            values = self.values[first:]
            low = any(tensor is not None and _low(tensor) for tensor in tensors[first:])
            alike = len({(value.dtype, value.device) for value in values}) == 1
            if alike and not low and sum(value.numel() for value in values) <= SMALL:
                self._first = first  # from here on, values are parts of the vector
                self._buffers = sum(value.numel() for value in values[: count - first])  # from here on, they are these
                self._vector = torch.cat([value.reshape(-1) for value in values])
                self.values[first:] = _divided(self._vector, [value.shape for value in values])
                return

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """List what is averaged and its averages, where there are both and they fit."""
        pairs = zip(self._tensors(), self.values, strict=True)
        both = [
            (tensor.detach(), value) for tensor, value in pairs if tensor is not None and tensor.shape == value.shape
        ]
        return [tensor for tensor, _ in both], [value for _, value in both]

    # What is done with it

    def update(self, weight: float) -> None:
        """Take the present weights in.

        Args:
            weight: w, from 0 (nothing changes) to 1 (the average becomes the present weights, whatever it was).
        """
        with torch.no_grad():
            self.admit()
            live = self._fit()
            if weight == 1:  # interpolated, NaN would stay NaN
                torch._foreach_copy_(self.values, live)
                return
            if self._first:
                apart = [tensor.float() if _low(tensor) else tensor for tensor in live[: self._first]]
                torch._foreach_lerp_(self.values[: self._first], apart, weight)
                count = len(self._owned)
                for value, tensor in zip(self.values[count : self._first], apart[count:], strict=True):
                    _start_where_not_finite(value, tensor)
            if self._vector is not None:
                newest = torch.cat([tensor.reshape(-1) for tensor in live[self._first :]])
                self._vector.lerp_(newest, weight)
                if self._buffers < len(newest):
                    _start_where_not_finite(self._vector[self._buffers :], newest[self._buffers :])

    def write_parameters(self) -> None:
        """Write the average into the model's parameters; the caller puts them back."""
        count = len(self._owned)
        reshard(self.model)  # or FSDP2 would go on with whole parameters that it has gathered before
        torch._foreach_copy_([tensor.detach() for tensor in self.parameters], self.values[:count])
        torch.clear_autocast_cache()  # a cast of the other weights would hide the move

    def write(self) -> None:
        """Write the average into the model's parameters and buffers, for good."""
        with resharded(self.model), torch.no_grad():
            torch._foreach_copy_(*self._pairs())
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
            live, values = self._pairs()
            kept = [tensor.clone() for tensor in live]
            there = [(module, name) for module, name in self._where if name in module._buffers]
            held = [module._buffers[name] for module, name in there]
            versioned = tuple(tensor for tensor in live if not tensor.is_inference())
            try:
                with _unsafe_preserve_version_counter(versioned), torch.no_grad():
                    torch._foreach_copy_(live, values)
                torch.clear_autocast_cache()
                yield self.model
            finally:
                reshard(self.model)
                with _unsafe_preserve_version_counter(versioned), torch.no_grad():
                    torch._foreach_copy_(live, kept)
                for (module, name), buffer in zip(there, held, strict=True):
                    module._buffers[name] = buffer
                torch.clear_autocast_cache()

    # Saving

    def state(self) -> dict[str, Any]:
        """Give the average as tensors of its own memory, spread over ranks like the parameters.

        Returns:
            What ``torch.load(weights_only=True)`` accepts.
        """
        self.admit()
        values = [value.clone() for value in self.values]
        for i, (parameter, spread) in enumerate(zip(self._owned, self._spread, strict=True)):
            if spread is not None:
                values[i] = spread.spread(values[i], tuple(parameter.shape))
        return {"values": values}

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the average.

        Args:
            state: What :meth:`state` gave.

        Raises:
            ValueError: If it belongs to a model of another shape.
        """
        self.admit()
        given, count = state["values"], len(self._owned)
        shapes = [tuple(value.shape) for value in given[:count]]
        if len(given) != len(self.values) or shapes != [tuple(parameter.shape) for parameter in self._owned]:
            raise ValueError(
                f"the saved average has {len(given)} tensors, this model's has {len(self.values)}, or their shapes "
                "differ; load the state of a scheduler of the same model, with the same parameters frozen as when it "
                "was saved"
            )
        spreads = [*self._spread, *[None] * (len(given) - count)]
        for i, (value, spread) in enumerate(zip(given, spreads, strict=True)):
            if self.values[i].shape == (here := _here(value, spread)).shape:
                self.values[i].copy_(here)
            else:  # a buffer that had grown
                self.values[i] = here.to(self.values[i].device, copy=True)
                self._kinds = []
        if not self._kinds:
            self._join(self._tensors())

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        if self._vector is None:
            return self.__dict__
        parts = [value.shape for value in self.values[self._first :]]  # copied by themselves they would lose the vector
        return {**self.__dict__, "values": [*self.values[: self._first], *parts]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._vector is not None:
            self.values[self._first :] = _divided(self._vector, self.values[self._first :])


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to(working_dtype(tensor), copy=True)


def _fitted(value: Tensor, tensor: Tensor | None) -> Tensor:
    """Give an average the shape, precision and place of what it is of; none if that is not there."""
    if tensor is None:
        return value.new_empty(0)
    return value.to(tensor.device, working_dtype(tensor)) if value.shape == tensor.shape else _copied(tensor)


def _divided(vector: Tensor, shapes: Sequence[Any]) -> list[Tensor]:
    pieces = torch.split(vector, [shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _start_where_not_finite(value: Tensor, tensor: Tensor) -> None:
    torch.where(value.isfinite(), value, tensor, out=value)


def _here(value: Tensor, spread: Sharding | None) -> Tensor:
    """Take what belongs here of a saved tensor, which may be whole or spread, as the model was then or is now."""
    if spread is None:
        whole: Tensor = value.full_tensor() if is_spread(value) else value  # type: ignore[attr-defined]
        return whole
    return local(value) if is_spread(value) else value[spread.here]
