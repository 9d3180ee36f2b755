"""Weights of one architecture, wherever they are kept."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .checkpoint_text import few
from .parameters import Slot, all_slots, canonical_name, working_dtype

Weights = nn.Module | Mapping[str, Tensor] | str | os.PathLike[str]


def _twin(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # a module may hold anything, and whatever cannot be copied raises its own kind
        raise ValueError(
            f"{type(model).__name__} cannot be copied to load other weights into ({error}); give the weights as a "
            "model that was built and loaded separately"
        ) from error


def _load(module: nn.Module, source: Mapping[str, Tensor]) -> None:
    """Copy a state dict into a module, comparing names without the segments that wrappers put into them."""
    names = {canonical_name(name): name for name in module.state_dict()}
    given = {canonical_name(str(name)): value for name, value in source.items()}
    missing, unexpected = names.keys() - given.keys(), given.keys() - names.keys()
    if missing or unexpected:
        parts = [f"it lacks {few(sorted(missing))}"] if missing else []
        parts += [f"it has besides {few(sorted(unexpected))}"] if unexpected else []
        raise ValueError(
            f"the state dict does not fit {type(module).__name__}: {'; '.join(parts)}. Pass the state_dict() of the "
            "same architecture, or the path of a checkpoint, whose prefixes are found and stripped"
        )
    try:
        module.load_state_dict({names[name]: value for name, value in given.items()})
    except RuntimeError as error:
        raise ValueError(f"the state dict does not fit {type(module).__name__}: {error}") from error


class WeightsReader:
    """Reads states of a model's architecture, one at a time, without touching the model.

    One copy of the model is made on first use and every state is loaded into it, by the rules of
    :func:`~lrscape.landscape.load_checkpoint` if it is a path.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self._model = model
        self._scratch: nn.Module | None = None

    def module(self, source: Weights) -> nn.Module:
        """Read one state.

        Args:
            source: A module or state dict of the same architecture, or the path of a checkpoint.

        Returns:
            The model itself if it is the source; else the copy, which holds this state until the next is read.

        Raises:
            TypeError: If the source is of another kind.
            ValueError: If it does not fit the model, or the model cannot be copied.
        """
        if source is self._model:
            return self._model
        if not isinstance(source, nn.Module | Mapping | str | os.PathLike):
            raise TypeError(
                "weights must be a module, a state dict or the path of a checkpoint, got "
                f"{type(source).__name__}{'; call state_dict()' if callable(source) else ''}"
            )
        if self._scratch is None:
            self._scratch = _twin(self._model)
        if isinstance(source, nn.Module):
            _load(self._scratch, source.state_dict())
        elif isinstance(source, Mapping):
            _load(self._scratch, source)
        else:
            from .checkpoints import load_checkpoint

            load_checkpoint(self._scratch, source)
        return self._scratch

    def vector(self, source: Weights, slots: list[Slot], dtype: torch.dtype) -> Tensor:
        """Read the parameters that move as one flat vector.

        Args:
            source: As for :meth:`module`.
            slots: Which parameters.
            dtype: Of the result.

        Returns:
            Shape (P,), on the CPU, in memory of its own.
        """
        found = {slot.canonical: slot.parameter for slot in all_slots(self.module(source))}
        vector = torch.empty(sum(slot.parameter.numel() for slot in slots), dtype=dtype)
        pieces = torch.split(vector, [slot.parameter.numel() for slot in slots])
        for slot, piece in zip(slots, pieces, strict=True):
            piece.copy_(found[slot.canonical].detach().reshape(-1))
        return vector

    def standing_at(self, source: Weights) -> nn.Module:
        """Make a model with these weights and buffers.

        Args:
            source: As for :meth:`module`.

        Returns:
            The model itself if it is the source; else a copy that nothing else writes to.
        """
        module = self.module(source)
        return module if module is self._model else _twin(module)

    def copied(self, module: nn.Module) -> nn.Module:
        """Make sure that a module may be written to.

        Args:
            module: As :meth:`standing_at` returned it.

        Returns:
            The module; a copy if it is the user's model.
        """
        return _twin(module) if module is self._model else module


def everything(_: str, __: nn.Parameter) -> bool:
    """Choose every parameter, frozen ones too, which :func:`~lrscape.landscape.parameters.movable` takes as a choice.

    Returns:
        True.
    """
    return True


def compute_dtype(slots: list[Slot]) -> torch.dtype:
    """Choose the precision of flat vectors of parameters.

    Args:
        slots: The parameters.

    Returns:
        float64 if one of them has it, else float32.
    """
    double = any(slot.parameter.dtype == torch.float64 for slot in slots)
    return torch.float64 if double else torch.float32


def unflatten(vectors: Tensor, slots: list[Slot]) -> dict[str, Tensor]:
    r"""Cut flat vectors into the tensors of directions.

    Args:
        vectors: Shape (k, P).
        slots: The parameters, in the vectors' order.

    Returns:
        By canonical name, tensors of shape (k, \*parameter.shape) in the parameter's working precision and place.
    """
    pieces = torch.split(vectors, [slot.parameter.numel() for slot in slots], dim=1)
    return {
        slot.canonical: piece.reshape(len(vectors), *slot.parameter.shape).to(
            slot.parameter.device, working_dtype(slot.parameter), copy=True
        )
        for slot, piece in zip(slots, pieces, strict=True)
    }
