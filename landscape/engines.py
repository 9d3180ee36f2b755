"""Which engine evaluates points, and what happens where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .batched import NotBatchable, TooLarge, chunk_size, evaluate_batched
from .closure import Task
from .directions import Directions
from .exhaustion import exhausted, out_of_memory
from .inplace import CHUNK, evaluate_inplace
from .modes import BatchNorm
from .parameters import Slot
from .sums import Totals
from .threads import NotThreadable, evaluate_threads, thread_count

EngineName = Literal["inplace", "batched", "threads"]
Engine = Literal["auto", EngineName]
Memory = Literal["normal", "low"]

logger = logging.getLogger("lrscape")
_logged: set[str] = set()

_ADVICE: dict[Memory, str] = {
    "normal": "use directions made with memory='low', which keep no copies, smaller batches, or fewer parameters=",
    "low": "use smaller batches",
}
SMALL_ON_CPU = 20_000  # parameters; measured on two cores: below, a matrix-only model gains from vmap, above it loses
SMALL_ON_ACCELERATOR = 5_000_000  # parameters; small models wait for kernel launches there


@dataclass(frozen=True, eq=False)
class Job:
    """What is evaluated, whatever the engine.

    Attributes:
        model: The user's model.
        task: What to evaluate.
        slots: The parameters that move.
        directions: k directions.
        batch_norm: BatchNorm policy.
        dropout: Keep dropout on.
        memory: "low" to keep neither directions nor backup on the device.
        cuda_graph: Let the in-place engine replay a recorded forward pass.
    """

    model: nn.Module
    task: Task
    slots: list[Slot]
    directions: Directions
    batch_norm: BatchNorm = "eval"
    dropout: bool = False
    memory: Memory = "normal"
    cuda_graph: bool = False

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.slots[0].parameter.device


@dataclass(frozen=True)
class Choice:
    """How points are evaluated; the same choice gives the same numbers bit for bit.

    Attributes:
        engine: Which engine.
        chunk: Points per pass over the data, or per forward pass of "batched".
        threads: Workers of "threads".
    """

    engine: EngineName
    chunk: int
    threads: int = 1


def check_engine(engine: str) -> None:
    """Reject an unknown engine.

    Args:
        engine: What the user passed.

    Raises:
        ValueError: If there is none of that name.
    """
    if engine != "auto" and engine not in get_args(EngineName):
        raise ValueError(f"engine must be 'auto', 'inplace', 'batched' or 'threads', got {engine!r}")


def hooked(model: nn.Module) -> bool:
    """Tell whether forward passes call hooks, which may keep tensors where nobody looks for them.

    Args:
        model: The user's model.

    Returns:
        Whether any module has a forward hook or a forward pre-hook, or all modules of the process have one.
    """
    everywhere = nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks
    return any(everywhere) or any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def fixed_engine(model: nn.Module, slots: list[Slot]) -> Literal["inplace", "batched"]:
    """Choose an engine by a rule on device and model, never by a timing, so that every run and rank chooses alike.

    Args:
        model: The user's model.
        slots: The parameters that move.

    Returns:
        "batched" where forward passes are short compared with their overhead, else "inplace".
    """
    size = sum(slot.parameter.numel() for slot in slots)
    if any(isinstance(module, nn.RNNBase) for module in model.modules()) or hooked(model):
        return "inplace"
    if slots[0].parameter.device.type != "cpu":
        return "batched" if size <= SMALL_ON_ACCELERATOR else "inplace"
    matrices = all(slot.parameter.dim() <= 2 for slot in slots)
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    return "batched" if size <= SMALL_ON_CPU and matrices and not attention else "inplace"


def choice_of(engine: EngineName, job: Job, count: int, chunk: int | None = None, threads: int | None = None) -> Choice:
    """Fill in what the user left open.

    Args:
        engine: Which engine.
        job: What is evaluated.
        count: Number of points.
        chunk: The user's, if any.
        threads: Likewise.

    Returns:
        The choice.
    """
    if engine == "batched":
        return Choice(engine, chunk or chunk_size(job.slots, count))
    one_by_one = job.memory == "low" or job.batch_norm == "recalibrate"
    size = chunk or (1 if one_by_one else min(CHUNK, count))
    if engine == "threads":
        return Choice(engine, size, threads or thread_count(job.slots, count))
    return Choice(engine, size)


def run(
    choice: Choice, job: Job, coordinates: NDArray[np.float64], advance: Callable[[int], object] = lambda _: None
) -> tuple[Totals, Choice]:
    """Evaluate points with an engine, or with the in-place engine where it cannot (logged once).

    A chunk that does not fit into memory is halved, and the points are evaluated again.

    Args:
        choice: The engine and its settings.
        job: What is evaluated.
        coordinates: Shape (N, k).
        advance: Called with the number of evaluations done; with a negative number where some are taken back.

    Returns:
        Sums at the points, and the choice that made them.

    Raises:
        MemoryError: If not even the in-place engine has enough memory, or what torch raises then, with advice.
        RuntimeError: Likewise; or whatever the user's code raises.
    """
    untold: list[tuple[str, str]] = []
    while True:
        counted = 0

        def count(n: int) -> None:
            nonlocal counted
            counted += n
            advance(n)
            while untold:  # only now is it sure that the other engine was at fault, and not the user's code
                _log(job.model, *untold.pop())

        try:
            return _run(choice, job, coordinates, count), choice
        except TooLarge as error:
            if choice.chunk == 1:
                _log(job.model, choice.engine, "one point at a time does not fit into memory beside the model")
                choice = choice_of("inplace", job, len(coordinates))
            else:
                choice = replace(choice, chunk=choice.chunk // 2)
                logger.warning("lrscape: out of memory, going on with chunks of %d points", choice.chunk)
            del error  # its traceback holds on to the tensors that did not fit
            if job.device.type == "cuda":
                torch.cuda.empty_cache()
        except (NotBatchable, NotThreadable) as reason:
            untold.append((choice.engine, str(reason)))
            choice = choice_of("inplace", job, len(coordinates))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if choice.engine == "inplace":
                told = exhausted(error, "one point at a time", _ADVICE[job.memory])
                raise told from error
            _log(job.model, choice.engine, "copies of the model do not fit into memory")
            choice = choice_of("inplace", job, len(coordinates))
        advance(-counted)


def _run(choice: Choice, job: Job, coordinates: NDArray[np.float64], advance: Callable[[int], object]) -> Totals:
    place = (job.model, job.task, job.slots, job.directions, coordinates)
    how: dict[str, Any] = {"batch_norm": job.batch_norm, "dropout": job.dropout}
    how |= {"chunk": choice.chunk, "advance": advance}
    if choice.engine == "batched":
        return evaluate_batched(*place, **how)
    if choice.engine == "threads":
        return evaluate_threads(*place, threads=choice.threads, **how)
    return evaluate_inplace(*place, memory=job.memory, cuda_graph=job.cuda_graph, **how)


def _log(model: nn.Module, engine: str, reason: str) -> None:
    key = f"{type(model).__qualname__}: {engine}: {reason}"
    if key not in _logged:
        _logged.add(key)
        way = "under vmap" if engine == "batched" else "in several threads"
        logger.info("lrscape: %s cannot run %s, using the in-place engine (%s)", type(model).__name__, way, reason)
