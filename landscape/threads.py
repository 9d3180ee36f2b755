"""The threads engine: points shared among workers on the CPU, each with its own copy of the model."""

from __future__ import annotations

import contextvars
import copy
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batched import free_memory
from .closure import ClosureTask, OneUnit, Task
from .directions import Directions
from .harmless import harmless
from .inplace import CHUNK, Mover, evaluate_inplace
from .modes import BatchNorm
from .parameters import Slot, all_slots
from .sums import Sums, Totals


class NotThreadable(Exception):  # noqa: N818  a finding that leads to the other engine, not an error of the user's
    """The model or objective cannot be evaluated in several threads."""


def thread_count(slots: list[Slot], count: int) -> int:
    """Choose how many workers share the points.

    Args:
        slots: The parameters that move.
        count: Number of points.

    Returns:
        As many as torch may use for one operation, so far as copies of the model fit in a quarter of the free memory.
    """
    size = sum(slot.parameter.numel() * slot.parameter.element_size() for slot in slots)
    room = free_memory(torch.device("cpu")) // 4
    return max(1, min(torch.get_num_threads(), count, room // max(1, size)))


def check_threadable(model: nn.Module, task: Task, slots: list[Slot], batch_norm: BatchNorm, dropout: bool) -> None:
    """Find what is known beforehand to need one thread.

    Args:
        model: The user's model.
        task: What to evaluate.
        slots: The parameters that move.
        batch_norm: BatchNorm policy.
        dropout: Whether dropout is on.

    Raises:
        NotThreadable: If there is such a reason.
    """
    if isinstance(task, ClosureTask):
        raise NotThreadable("a closure calls the model itself, not a copy of it")
    if slots[0].parameter.device.type != "cpu":
        raise NotThreadable("an accelerator runs its kernels in one queue")
    if batch_norm == "recalibrate":
        raise NotThreadable("recalibration reads the data once for each point")
    if dropout:
        raise NotThreadable("dropout draws from the random state that all threads share")
    if torch._C._len_torch_function_stack() > 0 or torch._C._len_torch_dispatch_stack() > 0:
        raise NotThreadable("a mode such as torch.device(...) is active, which other threads would not see")
    if any(type(module).__name__ == "OptimizedModule" for module in model.modules()):
        raise NotThreadable("a compiled model is compiled again for every copy")


# Relative; the same kernels over other numbers of threads or points differ by roundings.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
_COARSE = 0.05  # half precision, also under autocast


def rounding(slots: list[Slot]) -> float:
    """Bound the relative difference that roundings may make between two engines.

    Args:
        slots: The parameters that move.

    Returns:
        The bound, generous: it tells values of another model from these.
    """
    kinds = {slot.parameter.dtype for slot in slots}
    cast = torch.is_autocast_enabled(slots[0].parameter.device.type)
    return _COARSE if cast else max(_ROUNDING.get(kind, _COARSE) for kind in kinds)


def _random_state() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()  # noqa: NPY002  the user's code may draw from the global state
    return random.getstate(), numpy[1].tobytes(), numpy[2:], torch.get_rng_state().numpy().tobytes()


def _surroundings() -> Callable[[], AbstractContextManager[None]]:
    """Take what is local to this thread and decides how a forward pass computes."""
    kind = "cpu"
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    cached = torch.is_autocast_cache_enabled()

    @contextmanager
    def enter() -> Iterator[None]:
        with torch.no_grad(), torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=cached):
            yield

    return enter


class _Worker:
    """A copy of the model that is moved and evaluated in one thread at a time."""

    def __init__(self, model: nn.Module, slots: list[Slot], directions: Directions) -> None:
        try:
            self.model = copy.deepcopy(model)
        except Exception as error:  # a module may hold anything, and whatever cannot be copied raises its own kind
            raise NotThreadable(f"the model cannot be copied ({type(error).__name__}: {error})") from error
        copies = {slot.name: slot for slot in all_slots(self.model)}
        if any(slot.name not in copies or copies[slot.name].parameter is slot.parameter for slot in slots):
            raise NotThreadable("a copy of the model shares its parameters")
        own = [copies[slot.name] for slot in slots]
        self._mover = Mover(own, directions, backup=[slot.parameter.detach() for slot in slots])

    def evaluate(
        self,
        task: Task,
        unit: Any,
        numbers: Iterator[int],
        coordinates: NDArray[np.float64],
        done: Callable[[int, tuple[Tensor, Tensor]], bool],
        surroundings: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Take points until there are none left.

        Args:
            task: What to evaluate.
            unit: A batch.
            numbers: Numbers of points, shared with the other workers.
            coordinates: Of all points, shape (N, k).
            done: Takes the number of a point and its values; returns whether to go on.
            surroundings: The caller's grad mode and autocast, which a thread does not inherit.
        """
        with surroundings():
            for i in numbers:
                self._mover.move(coordinates[i])
                if not done(i, task.values(self.model, unit)):
                    return


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Make threads that compute with their share of the cores each."""
    cores = torch.get_num_threads()
    share = max(1, cores // workers)
    try:
        with ThreadPoolExecutor(workers, "lrscape", initializer=partial(torch.set_num_threads, share)) as pool:
            yield pool
    finally:
        torch.set_num_threads(cores)  # a new thread takes the number that was set last, by whichever thread


class _Found:
    """Values of the points of one chunk on one batch, filled in by several threads."""

    def __init__(self, start: int, stop: int, advance: Callable[[int], object], pending: Callable[[], bool]) -> None:
        self.values: list[Any] = [None] * (stop - start)
        self.numbers = iter(range(start, stop))  # taking the next of a range is atomic
        self.failed = False
        self._start, self._advance, self._pending, self._lock = start, advance, pending, Lock()

    def done(self, i: int, values: tuple[Tensor, Tensor]) -> bool:
        self.values[i - self._start] = values
        with self._lock:
            self._advance(1)
        return not (self.failed or self._pending())


def evaluate_threads(
    model: nn.Module,
    task: Task,
    slots: list[Slot],
    directions: Directions,
    coordinates: NDArray[np.float64],
    *,
    threads: int,
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    chunk: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Totals:
    """Evaluate a task at points, several at a time, each thread moving the weights of its own copy of the model.

    One forward pass rarely keeps several cores busy from beginning to end; several passes beside each other do. The
    user's model is only read. Which thread takes which point does not change the numbers. Extra memory: a copy of the
    model for each thread, besides the k directions.

    Args:
        model: The user's model.
        task: An :class:`~lrscape.landscape.Objective`.
        slots: The parameters that move.
        directions: k directions.
        coordinates: Shape (N, k).
        threads: Number of workers.
        batch_norm: BatchNorm policy, "eval" or "batch".
        dropout: Must be off.
        chunk: Points per pass over the data.
        advance: Called with the number of evaluations done, from any thread.

    Returns:
        Sums of m values at N points.

    Raises:
        NotThreadable: If the model cannot be copied, or the objective draws random numbers.
        ValueError: If there are no points.
    """
    check_threadable(model, task, slots, batch_norm, dropout)
    count, size, sums = len(coordinates), chunk or CHUNK, None
    device = slots[0].parameter.device
    with ExitStack() as stack:
        interrupt, rewind = stack.enter_context(
            harmless(model, batch_norm=batch_norm, dropout=dropout, loader=task.loader)
        )
        workers = [_Worker(model, slots, directions) for _ in range(threads)]
        pool = stack.enter_context(_pool(threads))
        surroundings = _surroundings()
        for start in range(0, count, size):
            rewind()
            stop = min(start + size, count)
            for unit in task.units(device):
                before = _random_state()
                found = _Found(start, stop, advance, interrupt.due)
                work: Any = (task, unit, found.numbers, coordinates, found.done, surroundings)
                own = [contextvars.copy_context().run for _ in workers]
                _finish(found, [pool.submit(go, w.evaluate, *work) for go, w in zip(own, workers, strict=True)])
                interrupt.check()
                if _random_state() != before:
                    raise NotThreadable("the objective draws random numbers, which all threads would share")
                values, weights = (torch.stack(list(column)) for column in zip(*found.values, strict=True))
                if sums is None:
                    far = int(np.abs(coordinates[start:stop]).sum(axis=1).argmax())
                    _check_value(
                        model,
                        OneUnit(task, unit),
                        slots,
                        directions,
                        coordinates[[start + far]],
                        values[far],
                        batch_norm,
                    )
                    sums = Sums(count, len(task.names), values)
                sums.add(slice(start, stop), values, weights)
                if start == 0:
                    sums.next_batch()
    if sums is None:
        raise ValueError("there are no points to evaluate")
    return sums.totals()


def _check_value(
    model: nn.Module,
    task: OneUnit,
    slots: list[Slot],
    directions: Directions,
    coordinates: NDArray[np.float64],
    values: Tensor,
    batch_norm: BatchNorm,
) -> None:
    """Compare one point's sums with those of the user's model: an objective may use that where it is given a copy."""
    expected = torch.from_numpy(
        evaluate_inplace(model, task, slots, directions, coordinates, batch_norm=batch_norm).values[0, 0]
    )
    if not torch.allclose(values.double(), expected, rtol=rounding(slots), atol=1e-12, equal_nan=True):
        raise NotThreadable("a copy of the model gives other values than the model itself")


def _finish(found: _Found, futures: list[Future[None]]) -> None:
    """Wait for all threads, also after one has failed, and raise what the first of them raised."""
    for future in futures:
        future.add_done_callback(lambda done: setattr(found, "failed", found.failed or done.exception() is not None))
    wait(futures)
    for future in futures:
        future.result()
