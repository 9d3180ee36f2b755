"""Directions in parameter space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .gram import cosines_of, gram_of
from .parameters import ParameterChoice, left_out, movable, working_dtype
from .seeded import SeededTensors


@dataclass(frozen=True, eq=False)
class Directions:
    r"""k directions in the space of a model's parameters.

    Attributes:
        tensors: By canonical parameter name, a tensor of shape (k, \*parameter.shape): float64 for a float64
            parameter, float32 for any other, on the parameter's device, and spread over ranks like the parameter.
            With ``memory="low"`` a name's tensor is drawn anew each time it is looked up.
        kind: How the directions were made, e.g. "random".
        details: Numbers and strings that say how, for the provenance of a surface.
        left_out: Names of the parameters that do not move.
    """

    tensors: Mapping[str, Tensor]
    kind: str
    details: Mapping[str, object] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        if isinstance(self.tensors, SeededTensors):
            return self.tensors.count
        return next(iter(self.tensors.values())).shape[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of a parameter that moves, without making its directions.

        Args:
            name: Its canonical name.

        Returns:
            The shape.
        """
        if isinstance(self.tensors, SeededTensors):
            return self.tensors.shape(name)
        return tuple(self.tensors[name].shape[1:])

    def gram(self) -> NDArray[np.float64]:
        """Compute the inner products of all pairs of directions, summed in float64 block by block.

        Where parameters are spread over ranks, every rank must call this, and gets the same.

        Returns:
            Array of shape (k, k).
        """
        if isinstance(self.tensors, SeededTensors):
            return self.tensors.gram()
        return gram_of(list(self.tensors.values()), len(self))

    def norms(self) -> NDArray[np.float64]:
        """Compute the Euclidean length of each direction.

        Returns:
            Array of shape (k,).
        """
        return np.asarray(np.sqrt(np.diag(self.gram())))

    def cosines(self) -> NDArray[np.float64]:
        """Compute the cosine of the angle between each pair of directions.

        Returns:
            Array of shape (k, k); a direction of length zero has cosine 0 with all.
        """
        return cosines_of(self.gram())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the directions to an ``.npz`` file, atomically and block by block.

        Where parameters are spread over ranks, every rank must call this.

        Args:
            path: Where; the name is taken as it is.
        """
        from .direction_files import write_directions

        write_directions(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Directions:
        """Read directions that :meth:`save` wrote; no pickled object is ever loaded.

        Args:
            path: The file.
            model: Put each tensor where this model's parameter is; on the CPU without.

        Returns:
            The directions.

        Raises:
            ValueError: If the file holds no directions, is damaged, comes from a newer version, or does not fit the
                model.
        """
        from .direction_files import read_directions

        return read_directions(path, model)


def directions_from_vectors(
    model: nn.Module, vectors: Tensor | NDArray[np.floating], *, parameters: ParameterChoice = None
) -> Directions:
    """Take directions that the user has as flat vectors.

    Args:
        model: The module they belong to.
        vectors: Shape (k, P) or (P,), in the order of ``torch.nn.utils.parameters_to_vector`` over the parameters
            that move.
        parameters: Restricts what moves; see :func:`movable`.

    Returns:
        The directions.

    Raises:
        ValueError: If the shape does not fit the model, or a number is not finite.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> directions_from_vectors(model, torch.tensor([1.0, 2.0, 3.0])).tensors["bias"]
        tensor([[3.]])
    """
    flat = torch.as_tensor(vectors).detach()
    flat = flat[None] if flat.dim() == 1 else flat
    slots = movable(model, parameters)
    sizes = [slot.parameter.numel() for slot in slots]
    if flat.dim() != 2 or flat.shape[1] != sum(sizes):
        raise ValueError(
            f"vectors must have shape (k, {sum(sizes)}), one number per parameter that moves, got {tuple(flat.shape)}"
        )
    if not bool(torch.isfinite(flat).all()):
        raise ValueError("vectors must be finite, got NaN or infinity")
    tensors = {
        slot.canonical: piece
        .reshape(flat.shape[0], *slot.parameter.shape)
        .to(slot.parameter.device, working_dtype(slot.parameter))
        .clone()
        for slot, piece in zip(slots, torch.split(flat, sizes, dim=1), strict=True)
    }
    return Directions(tensors, "vectors", {}, left_out(model, slots))
