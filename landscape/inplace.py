"""The in-place engine: one point after the other, in the model's own storage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .boxes import BLOCK
from .closure import Task
from .directions import Directions
from .harmless import harmless
from .low_memory import BlockMover
from .modes import BatchNorm, recalibrated
from .parameters import Slot, all_slots
from .randomness import capture_global
from .replay import Replay
from .seeded import SeededTensors
from .shards import local, local_steps, resharded
from .sums import Sums, Totals

CHUNK = 256  # points per pass over the data: the loader is read once per chunk


def _laid_out(step: Tensor, parameter: Tensor) -> Tensor:
    """Give a step the parameter's strides (channels_last, say), so that additions run over matching memory."""
    if step.stride() == parameter.stride():
        return step
    return torch.empty_like(parameter, dtype=step.dtype).copy_(step)


def _blocks(parameter: Tensor, start: Tensor, step: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Cut what is computed in a higher precision into rows, so that the copy in between stays small."""
    if parameter.dim() == 0 or parameter.numel() <= BLOCK:
        return [(parameter, start, step)]
    rows = max(1, BLOCK * len(parameter) // parameter.numel())
    return list(zip(torch.split(parameter, rows), torch.split(start, rows), torch.split(step, rows, 1), strict=True))


class Mover:
    """Writes θ + Σ c_j·d_j into a model's parameters.

    Of parameters that are spread over ranks, each rank writes what it holds.

    Args:
        slots: The parameters that move.
        directions: Their directions.
        backup: Where they start from; copied from them by default.

    Attributes:
        moved: Those that move, as far as they are here.
        backup: Where these start from.
    """

    def __init__(self, slots: list[Slot], directions: Directions, backup: list[Tensor] | None = None) -> None:
        self.moved: list[Tensor] = []
        self.backup: list[Tensor] = []
        self._exact: list[Tensor] = []
        self._exact_backup: list[Tensor] = []
        self._steps: list[list[Tensor]] = [[] for _ in range(len(directions))]
        self._rounded: list[tuple[Tensor, Tensor, Tensor]] = []
        for i, slot in enumerate(slots):
            parameter = local(slot.parameter)
            step = local_steps(directions.tensors[slot.canonical], slot.parameter, slot.canonical)
            if step.device.type == "cpu" and step.dim() <= 2 and not step.any():
                continue  # a bias that does not move; on an accelerator asking would wait for it
            start = torch.empty_like(parameter).copy_(parameter) if backup is None else backup[i]
            self.moved.append(parameter)
            self.backup.append(start)
            if parameter.element_size() < 4:
                self._rounded += _blocks(parameter, start, step)
            else:
                self._exact.append(parameter)
                self._exact_backup.append(start)
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
    memory: Literal["normal", "low"] | None = None,
    cuda_graph: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> Totals:
    """Evaluate a task at points, moving the model's weights in place and copying them back at the end.

    Works with anything that reads its weights from the model: hooks, compiled models, closures over wrappers,
    data-dependent control flow, FSDP2 (ranks walk the same points in step). Extra memory: k + 1 copies of the
    parameters that move, the directions included; with ``memory="low"`` some blocks of them.

    Args:
        model: The user's model.
        task: What to evaluate.
        slots: The parameters that move.
        directions: k directions.
        coordinates: Shape (N, k).
        batch_norm: BatchNorm policy.
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per pass over the data; with ``memory="low"`` one by default, since a move is dear.
        memory: "low" moves block by block, with the backup in host memory or a mapped file; by default for directions
            that are drawn again whenever they are needed.
        cuda_graph: Record the forward pass and replay it; see :class:`~lrscape.landscape.replay.Replay`.
        advance: Called with the number of evaluations done.

    Returns:
        Sums of m values at N points.

    Raises:
        ValueError: If there are no points.
    """
    low = isinstance(directions.tensors, SeededTensors) if memory is None else memory == "low"
    device = slots[0].parameter.device
    size = 1 if batch_norm == "recalibrate" else chunk or (1 if low else CHUNK)
    count = len(coordinates)
    values_at = Replay(task, device).values if cuda_graph else task.values
    sums: Sums | None = None
    with ExitStack() as stack:
        reshard = stack.enter_context(resharded(model))
        names = {slot.name for slot in slots}
        slots = [slot for slot in all_slots(model) if slot.name in names]  # shards, if they were whole before
        mover = BlockMover(slots, directions) if low else Mover(slots, directions)
        interrupt, rewind = stack.enter_context(
            harmless(
                model,
                moved=mover.moved,
                backup=mover.restore if isinstance(mover, BlockMover) else mover.backup,
                batch_norm=batch_norm,
                dropout=dropout,
                loader=task.loader,
            )
        )
        for start in range(0, count, size):
            rewind()
            placed = -1
            if batch_norm == "recalibrate":
                reshard()
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
                        reshard()
                        mover.move(coordinates[i])
                        placed = i
                    found.append(values_at(model, unit))
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
    return sums.totals()


def _forward(model: nn.Module, task: Task, device: torch.device) -> None:
    for unit in task.units(device):
        task.values(model, unit)
