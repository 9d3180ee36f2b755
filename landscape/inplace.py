"""The in-place engine: one point after the other, in the model's own storage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .closure import Task
from .directions import Directions
from .harmless import harmless
from .modes import BatchNorm, recalibrated
from .parameters import Slot
from .randomness import capture_global
from .sums import Sums

CHUNK = 256  # points per pass over the data: the loader is read once per chunk


def _laid_out(step: Tensor, parameter: Tensor) -> Tensor:
    """Give a step the parameter's strides (channels_last, say), so that additions run over matching memory."""
    if step.stride() == parameter.stride():
        return step
    return torch.empty_like(parameter, dtype=step.dtype).copy_(step)


class Mover:
    """Writes θ + Σ c_j·d_j into a model's parameters.

    Args:
        slots: The parameters that move.
        directions: Their directions.
    """

    def __init__(self, slots: list[Slot], directions: Directions) -> None:
        self.backup = [torch.empty_like(slot.parameter).copy_(slot.parameter.detach()) for slot in slots]
        self._exact: list[Tensor] = []
        self._exact_backup: list[Tensor] = []
        self._steps: list[list[Tensor]] = [[] for _ in range(len(directions))]
        self._rounded: list[tuple[Tensor, Tensor, Tensor]] = []
        for slot, backup in zip(slots, self.backup, strict=True):
            parameter, step = slot.parameter.detach(), directions.tensors[slot.canonical]
            if step.device.type == "cpu" and step.dim() <= 2 and not step.any():
                continue  # a bias that does not move; on an accelerator asking would wait for it
            if parameter.element_size() < 4:
                self._rounded.append((parameter, backup, step))
            else:
                self._exact.append(parameter)
                self._exact_backup.append(backup)
                for j, steps in enumerate(self._steps):
                    steps.append(_laid_out(step[j], parameter))

    def move(self, coordinates: NDArray[np.float64]) -> None:
        """Move to a point.

        Args:
            coordinates: Shape (k,).
        """
        if self._exact:
            torch._foreach_copy_(self._exact, self._exact_backup)
            for c, steps in zip(coordinates.tolist(), self._steps, strict=True):
                if c != 0:
                    torch._foreach_add_(self._exact, steps, alpha=c)
        for parameter, backup, step in self._rounded:  # computed in float32, rounded once
            moved = backup.float()
            for c, one in zip(coordinates.tolist(), step, strict=True):
                moved.add_(one, alpha=c)
            parameter.copy_(moved)
        # autocast keeps casts of leaf tensors; a stale one would hide the move
        torch.clear_autocast_cache()


def evaluate_inplace(
    model: nn.Module,
    task: Task,
    slots: list[Slot],
    directions: Directions,
    coordinates: NDArray[np.float64],
    *,
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    chunk: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate a task at points, moving the model's weights in place and copying them back at the end.

    Works with anything that reads its weights from the model: hooks, compiled models, closures over wrappers,
    data-dependent control flow. Extra memory: k + 1 copies of the parameters that move.

    Args:
        model: The user's model.
        task: What to evaluate.
        slots: The parameters that move.
        directions: k directions.
        coordinates: Shape (N, k).
        batch_norm: BatchNorm policy.
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per pass over the data.
        advance: Called with the number of evaluations done.

    Returns:
        Means and standard errors, each of shape (N, m).

    Raises:
        ValueError: If there are no points.
    """
    mover = Mover(slots, directions)
    device = slots[0].parameter.device
    size = 1 if batch_norm == "recalibrate" else (chunk or CHUNK)
    count = len(coordinates)
    sums: Sums | None = None
    with harmless(
        model,
        moved=[slot.parameter for slot in slots],
        backup=mover.backup,
        batch_norm=batch_norm,
        dropout=dropout,
        loader=task.loader,
    ) as (interrupt, rewind):
        for start in range(0, count, size):
            rewind()
            placed = -1
            if batch_norm == "recalibrate":
                mover.move(coordinates[start])
                placed = start
                recalibrated(model, partial(_forward, model, task, device))
                rewind()
            stop = min(start + size, count)
            for unit in task.units(device):
                repeat = capture_global()
                found = []
                for i in range(start, stop):
                    if i > start:
                        repeat()  # the same masks at every point
                    if i != placed:
                        mover.move(coordinates[i])
                        placed = i
                    found.append(task.values(model, unit))
                    advance(1)
                    interrupt.check()
                values, weights = (torch.stack(list(column)) for column in zip(*found, strict=True))
                if sums is None:
                    sums = Sums(count, len(task.names), values)
                sums.add(slice(start, stop), values, weights)
                if start == 0:
                    sums.next_batch()
    if sums is None:
        raise ValueError("there are no points to evaluate")
    return sums.results()


def _forward(model: nn.Module, task: Task, device: torch.device) -> None:
    for unit in task.units(device):
        task.values(model, unit)
