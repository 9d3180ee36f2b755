"""Moving a model's weights block by block, with next to no memory beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boxes import Piece, pieces, spans
from .directions import Directions
from .host_backup import HostBackup
from .parameters import Slot
from .seeded import Drawn, SeededTensors
from .shards import local, local_steps


class BlockMover:
    """Writes θ + Σ c_j·d_j into a model's parameters, a block of some megabytes at a time.

    The operations on each weight, and so the numbers, are those of :class:`~lrscape.landscape.inplace.Mover`.
    Directions that are regenerated from their seed are never in memory as a whole; others are brought to the
    parameters' device block by block, if they lie elsewhere.

    Args:
        slots: The parameters that move.
        directions: Their directions.

    Raises:
        OSError: If there is no room for the backup.
    """

    def __init__(self, slots: list[Slot], directions: Directions) -> None:
        self.moved = [local(slot.parameter) for slot in slots]
        self._slots = slots
        self._tensors = directions.tensors
        self._backup = HostBackup(self.moved)

    def restore(self) -> None:
        """Write the weights back."""
        self._backup.restore_all()

    def move(self, coordinates: NDArray[np.float64]) -> None:
        """Move to a point.

        Args:
            coordinates: Shape (k,).
        """
        if isinstance(self._tensors, SeededTensors) and self._tensors.mixing is not None:
            coordinates = coordinates @ self._tensors.mixing
        steps = [float(c) for c in coordinates]
        chosen = [j for j, c in enumerate(steps) if c != 0]
        for i, (slot, parameter) in enumerate(zip(self._slots, self.moved, strict=True)):
            self._backup.restore(i)
            parameter = parameter.view(1) if parameter.dim() == 0 else parameter
            for places, drawn in self._walk(slot, parameter, chosen):
                parts = [parameter[place.local] for place in places]
                # Half precision is computed in float32 and rounded once.
                sums = [part.float() if part.element_size() < 4 else part for part in parts]
                for j, pieces_of_step in drawn:
                    for total, step in zip(sums, pieces_of_step, strict=True):
                        total.add_(step, alpha=steps[j])
                for part, total in zip(parts, sums, strict=True):
                    if total is not part:
                        part.copy_(total)
        # autocast keeps casts of leaf tensors; a stale one would hide the move
        torch.clear_autocast_cache()

    def _walk(self, slot: Slot, parameter: Tensor, chosen: Sequence[int]) -> Iterator[tuple[list[Piece], Drawn]]:
        if isinstance(self._tensors, SeededTensors):
            yield from self._tensors.walk(slot.canonical, chosen)
            return
        steps = local_steps(self._tensors[slot.canonical], slot.parameter, slot.canonical)
        steps = steps[:, None] if steps.dim() == 1 else steps
        for start, stop in spans(parameter.numel()):
            places = pieces(tuple(parameter.shape), start, stop)
            yield places, ((j, [steps[j][p.local].to(parameter.device) for p in places]) for j in chosen)
