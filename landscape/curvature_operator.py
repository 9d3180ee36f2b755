"""A symmetric matrix over a model's parameters, known by its products with vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from .directions import Directions
from .parameters import Slot, working_dtype
from .shards import local, local_steps, sharding


class CurvatureOperator(ABC):
    r"""A symmetric P×P matrix over flattened parameters: Hessian, Gauss-Newton, Fisher, or one made of them.

    Vectors are rows: k of them have shape (k, P), in the order of ``torch.nn.utils.parameters_to_vector`` over the
    parameters that count, on the device of the first of them.

    Args:
        slots: The parameters.

    Attributes:
        slots: The parameters.
        size: P.
        dtype: float64 if a parameter is float64, else float32.
        device: Where vectors live.
        products: Number of vectors multiplied so far.
    """

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = slots
        self._sizes = [slot.parameter.numel() for slot in slots]
        self.size = sum(self._sizes)
        self.dtype = max((working_dtype(slot.parameter) for slot in slots), key=lambda dtype: dtype.itemsize)
        self.device = slots[0].parameter.device
        self.products = 0

    @abstractmethod
    def _apply(self, vectors: Tensor) -> Tensor:
        """Multiply rows, shape (k, P)."""

    @abstractmethod
    def gradient(self) -> Tensor:
        """Compute the gradient that belongs to this curvature.

        Returns:
            Shape (P,).
        """

    @abstractmethod
    def block(self, names: Iterable[str]) -> CurvatureOperator:
        """Take the rows and columns of some parameters.

        Args:
            names: Canonical names.

        Returns:
            The diagonal block, which counts its own products and lives as long as this operator.
        """

    def matmat(self, vectors: Tensor) -> Tensor:
        """Multiply k vectors.

        Args:
            vectors: Shape (k, P).

        Returns:
            Likewise, each row multiplied.

        Raises:
            ValueError: If the shape is another.
        """
        if vectors.dim() != 2 or vectors.shape[1] != self.size:
            raise ValueError(
                f"vectors must have shape (k, {self.size}), one number per parameter that counts, got "
                f"{tuple(vectors.shape)}"
            )
        self.products += len(vectors)
        return self._apply(vectors.detach().to(self.device, self.dtype))

    def matvec(self, vector: Tensor) -> Tensor:
        """Multiply one vector.

        Args:
            vector: Shape (P,).

        Returns:
            Likewise.
        """
        return self.matmat(vector[None])[0]

    def split(self, vectors: Tensor) -> list[Tensor]:
        r"""Cut vectors into parameters.

        Args:
            vectors: Shape (k, P).

        Returns:
            For each parameter, shape (k, \*parameter.shape), of its kind and where it is; of a parameter that is spread
            over ranks, the part that is here.
        """
        return [
            local_steps(piece.reshape(len(vectors), *slot.parameter.shape), slot.parameter, slot.canonical).to(
                slot.parameter.device, slot.parameter.dtype
            )
            for slot, piece in zip(self.slots, torch.split(vectors, self._sizes, dim=1), strict=True)
        ]

    def join(self, parts: Iterable[Tensor]) -> Tensor:
        r"""Flatten what belongs to parameters.

        Args:
            parts: For each parameter, shape (k, \*parameter.shape); of a parameter that is spread over ranks, the part
                that is here: all ranks must then call this.

        Returns:
            Shape (k, P).
        """
        whole = (self._whole(slot, part) for slot, part in zip(self.slots, parts, strict=True))
        return torch.cat([part.reshape(len(part), -1).to(self.device, self.dtype) for part in whole], dim=1)

    def _whole(self, slot: Slot, part: Tensor) -> Tensor:
        spread = sharding(slot.parameter, slot.canonical)
        if spread is None:
            return part
        whole: Tensor = spread.stacked(part.contiguous(), tuple(slot.parameter.shape)).full_tensor()  # type: ignore[attr-defined]
        return whole

    def layers(self) -> dict[str, list[str]]:
        """Group the parameters by the module that holds them.

        Returns:
            Canonical names by layer, in the model's order; a parameter of the model itself is under "".
        """
        found: dict[str, list[str]] = {}
        for slot in self.slots:
            owner = slot.canonical.rpartition(".")[0].partition("parametrizations.")[0].rstrip(".")
            found.setdefault(owner, []).append(slot.canonical)
        return found

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Find parameters by name.

        Args:
            names: Canonical names.

        Returns:
            Their places in ``slots``, ascending.

        Raises:
            ValueError: If there is none of a name, or no name.
        """
        wanted = set(names)
        found = [i for i, slot in enumerate(self.slots) if slot.canonical in wanted]
        if len(found) != len(wanted) or not found:
            known = ", ".join(slot.canonical for slot in self.slots[:8])
            raise ValueError(f"names must be among those of the parameters that count ({known}, …), got {wanted}")
        return found

    def flat(self, directions: Directions) -> Tensor:
        """Flatten directions.

        Args:
            directions: Of the same model; a parameter that they do not move counts as zero.

        Returns:
            Shape (k, P).
        """
        k = len(directions)
        return self.join(
            local_steps(directions.tensors[slot.canonical], slot.parameter, slot.canonical)
            if slot.canonical in directions.tensors
            else torch.zeros(k, *local(slot.parameter).shape, device=slot.parameter.device)
            for slot in self.slots
        )
