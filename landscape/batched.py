"""The batched engine: many points in one forward pass, by vmap over stacked parameters."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .closure import Task
from .directions import Directions
from .escapes import taken_away
from .exhaustion import out_of_memory
from .harmless import harmless
from .modes import BatchNorm
from .parameters import Slot, working_dtype
from .randomness import capture_global
from .sums import Sums, Totals

# Points per chunk. The call itself costs as much as some forward passes of a small model, so it should serve many; but
# weights that do not fit into the caches make each of them slower.
LEAST, MOST, CACHED = 32, 256, 2**23

REUSED = 2**25 - 2**16  # bytes: just below the largest block that glibc gives back to itself


class NotBatchable(Exception):  # noqa: N818  a finding that leads to the other engine, not an error of the user's
    """The model or closure cannot run under vmap."""


class TooLarge(Exception):  # noqa: N818  leads to smaller chunks
    """A chunk of points does not fit into memory."""


class _Holder(nn.Module):
    """Owns the model, so that functional_call can swap its parameters while a task or closure runs."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, unit: Any) -> tuple[Tensor, Tensor]:
        return self._task.values(self.model, unit)


def free_memory(device: torch.device) -> int:
    """Estimate how much memory is free.

    Args:
        device: Where.

    Returns:
        Bytes; 1 GiB where the system does not tell.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    names = getattr(os, "sysconf_names", {})
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**30


def chunk_size(slots: list[Slot], count: int) -> int:
    """Choose how many points share a forward pass.

    Args:
        slots: The parameters that move.
        count: Number of points.

    Returns:
        At least 1; as many as fit in a quarter of the free memory with three copies of the parameters each, at most
        32, or up to 256 while their weights take no more than 8 MiB.
    """
    size = sum(slot.parameter.numel() * slot.parameter.element_size() for slot in slots)
    room = free_memory(slots[0].parameter.device) // 4
    return max(1, min(count, max(LEAST, min(MOST, CACHED // max(1, size))), room // max(1, 3 * size)))


@cache
def _reuse_memory() -> None:
    """Let glibc keep freed blocks instead of giving them back to the system and asking for them again.

    Activations of a chunk take some MiB. glibc maps such blocks anew each time, until a larger one is freed; then it
    takes them from its heap for good (mallopt(3), M_MMAP_THRESHOLD), so once is enough. Zeroing new pages is half of
    the time of a small model.
    """
    torch.empty(REUSED, dtype=torch.uint8)


def _stack(slots: list[Slot], directions: Directions, coordinates: NDArray[np.float64]) -> dict[str, Tensor]:
    """Compute θ + Σ c_j·d_j for all points of a chunk: tensors of shape (points, *parameter.shape)."""
    stacked, factors = {}, dict[torch.dtype, Tensor]()
    for slot in slots:
        parameter = slot.parameter.detach()
        dtype = working_dtype(parameter)
        if dtype not in factors:
            factors[dtype] = torch.as_tensor(coordinates, dtype=dtype).to(parameter.device)
        steps = directions.tensors[slot.canonical].reshape(len(directions), -1)
        # One product reads and writes each number once; a sum over directions would do so for each of them.
        moved = torch.addmm(parameter.to(dtype).reshape(1, -1), factors[dtype], steps)
        stacked[f"model.{slot.name}"] = moved.to(parameter.dtype).reshape(len(coordinates), *parameter.shape)
    return stacked


def evaluate_batched(
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
) -> Totals:
    """Evaluate a task at points, a chunk of them in each forward pass.

    The parameters are stacked and the model runs under ``torch.func.vmap``; the weights in the model's own storage
    are never written. Dropout, if it is on, draws one mask for all points.

    Args:
        model: The user's model.
        task: What to evaluate.
        slots: The parameters that move.
        directions: k directions.
        coordinates: Shape (N, k).
        batch_norm: BatchNorm policy, "eval" or "batch".
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per forward pass; by default from the free memory.
        advance: Called with the number of evaluations done.

    Returns:
        Sums of m values at N points.

    Raises:
        NotBatchable: If the model or closure cannot run under vmap, or keeps tensors of its forward pass.
        TooLarge: If a chunk does not fit into memory.
        ValueError: If there are no points.
    """
    if batch_norm == "recalibrate":
        raise NotBatchable("recalibrated statistics differ from point to point")
    device = slots[0].parameter.device
    count = len(coordinates)
    size = chunk or chunk_size(slots, count)
    holder = _Holder(model, task)
    if device.type == "cpu":
        _reuse_memory()
    sums: Sums | None = None
    with (
        harmless(model, batch_norm=batch_norm, dropout=dropout, loader=task.loader) as (interrupt, rewind),
        taken_away(model, task) as take_away,
    ):
        for start in range(0, count, size):
            rewind()
            stop = min(start + size, count)
            try:
                stacked = _stack(slots, directions, coordinates[start:stop])
            except (RuntimeError, MemoryError) as error:
                raise (TooLarge() if out_of_memory(error) else error) from error
            for unit in task.units(device):
                values, weights = _chunk_values(holder, stacked, unit)
                if take_away():
                    raise NotBatchable("a forward pass keeps tensors, which could not be computed with afterwards")
                if sums is None:
                    sums = Sums(count, len(task.names), values)
                sums.add(slice(start, stop), values, weights)
                advance(stop - start)
                interrupt.check()
                if start == 0:
                    sums.next_batch()
    if sums is None:
        raise ValueError("there are no points to evaluate")
    return sums.totals()


def _chunk_values(holder: _Holder, stacked: dict[str, Tensor], unit: Any) -> tuple[Tensor, Tensor]:
    depends = True

    def at_point(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal depends
        values, weights = functional_call(holder, parameters, (unit,))
        # A loss that is the same tensor for all points came from another copy of the weights.
        depends = torch._C._functorch.is_batchedtensor(values)
        return values, weights

    again = capture_global()
    try:
        with warnings.catch_warnings():
            # Operations without a batching rule run in a loop: slower, not wrong.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            values, weights = vmap(at_point, randomness="same")(stacked)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, MemoryError) as error:
        again()
        if out_of_memory(error):
            raise TooLarge from error
        # vmap has no exception of its own. Whatever is the user's fault comes up again in the other engine.
        raise NotBatchable(f"{type(error).__name__}: {error}") from error
    if not depends:
        raise NotBatchable("the loss does not depend on the parameters given to the model")
    return values, weights
