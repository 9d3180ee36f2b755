"""The choice of an engine for a long scan, by a short trial on its own points."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .closure import ClosureTask, OneUnit, Task
from .engines import Choice, EngineName, Job, choice_of, fixed_engine, hooked, run
from .identity import first_unit
from .sums import Totals
from .threads import NotThreadable, check_threadable, rounding

WORTHWHILE = 64  # evaluations; a shorter scan follows the fixed rule
BRIEF = 1.0  # seconds; so does one that takes no longer
BATCHED_ON_CPU = 1_000_000  # parameters; measured: under vmap, larger models only lose there
# Chunks of "batched" are doubled from the first size on, until a point takes this much longer than with the best engine
# so far, or no longer gains so much from the doubling.
FIRST_CHUNK, HOPELESS, GAIN = 4, 1.3, 0.9
ALONE, WAVES = 5, 5  # points of the in-place engine, and points of each worker


class _Watch:
    """Notes when evaluations end."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, int]] = []

    def __call__(self, n: int) -> None:
        self.ends.append((time.perf_counter(), n))

    def seconds_per_point(self, skip: int) -> float:
        """Leave the first points out: there kernels are chosen and caches filled."""
        done = np.cumsum([n for _, n in self.ends])
        start = int(np.searchsorted(done, skip))
        return float((self.ends[-1][0] - self.ends[start][0]) / max(1, done[-1] - done[start]))


def candidates(job: Job) -> list[EngineName]:
    """List the engines that are worth a trial.

    Args:
        job: What is evaluated.

    Returns:
        Their names, "inplace" first.
    """
    if job.memory == "low" or job.batch_norm == "recalibrate":
        return ["inplace"]
    found: list[EngineName] = ["inplace"]
    if torch.get_num_threads() > 1:
        try:
            check_threadable(job.model, job.task, job.slots, job.batch_norm, job.dropout)
            found.append("threads")
        except NotThreadable:
            pass
    size = sum(slot.parameter.numel() for slot in job.slots)
    matrices = all(slot.parameter.dim() <= 2 for slot in job.slots)
    recurrent = any(isinstance(module, nn.RNNBase) for module in job.model.modules())
    if not recurrent and not hooked(job.model) and (job.device.type != "cpu" or (matrices and size <= BATCHED_ON_CPU)):
        found.append("batched")
    return found


def try_engines(
    job: Job, coordinates: NDArray[np.float64], chunk: int | None = None, threads: int | None = None
) -> tuple[Choice, Totals | None]:
    """Find the engine that takes least time per point, on the first batch and the first points of a scan.

    An engine whose values differ from the in-place engine's is not taken: an objective may, say, use the user's model
    itself where it is given a copy.

    Args:
        job: What is evaluated.
        coordinates: Of all points, shape (N, k).
        chunk: The user's points per pass, if any.
        threads: The user's number of workers, if any.

    Returns:
        The choice, and the sums at the first points of the scan if the trial has them already.
    """
    count, units = len(coordinates), job.task.size()
    names = candidates(job)
    fixed = choice_of(fixed_engine(job.model, job.slots) if len(names) > 1 else "inplace", job, count, chunk, threads)
    if len(names) == 1 or count * (units or 1) < WORTHWHILE:
        return fixed, None
    task: Task = job.task if isinstance(job.task, ClosureTask) else OneUnit(job.task, first_unit(job.task, job.device))
    short = replace(job, task=task)
    number = fixed.chunk if fixed.engine == "batched" else ALONE
    winner, kept, best = fixed, *_timed(fixed, short, coordinates[:number], min(1, number - 1))
    if best * count * (units or 1) > BRIEF:
        winner, kept = _compare(fixed, kept, best, short, coordinates, names, chunk, threads)
    return winner, kept if units == 1 else None


def _compare(
    winner: Choice,
    kept: Totals,
    best: float,
    job: Job,
    coordinates: NDArray[np.float64],
    names: list[EngineName],
    chunk: int | None,
    threads: int | None,
) -> tuple[Choice, Totals]:
    """Time the other engines, each on so few points that a slow one does not cost much."""
    count, first = len(coordinates), kept
    for name in names:
        choice = choice_of(name, job, count, chunk, threads)
        if name == winner.engine:
            continue
        if name == "batched":
            choice, totals, seconds = _enlarged(choice, first, best, job, coordinates)
        else:
            waves = max(3, min(WAVES, count // (8 * choice.threads)))
            number = choice.threads * waves if name == "threads" else ALONE
            totals, seconds = _timed(choice, job, coordinates[:number], choice.threads)
        if seconds < best and _same(totals, first, job):
            winner, kept, best = choice, totals, seconds
    return winner, kept


def _enlarged(
    choice: Choice, first: Totals, best: float, job: Job, coordinates: NDArray[np.float64]
) -> tuple[Choice, Totals, float]:
    """Enlarge the chunk while that pays: where it does not, a whole chunk would be a long trial."""
    size, before = min(FIRST_CHUNK, choice.chunk), float("inf")
    while True:
        tried = replace(choice, chunk=size)
        totals, seconds = _timed(tried, job, coordinates[:size], 0)
        promising = seconds < min(HOPELESS * best, GAIN * before) and _same(totals, first, job)
        if size == choice.chunk or not promising:
            return tried, totals, seconds
        size, before = min(2 * size, choice.chunk), seconds


def _timed(choice: Choice, job: Job, coordinates: NDArray[np.float64], skip: int) -> tuple[Totals, float]:
    """Evaluate points; an engine that cannot is not a candidate, which an infinite time says."""
    watch, start = _Watch(), time.perf_counter()
    totals, used = run(choice, job, coordinates, watch)
    if used != choice:
        return totals, float("inf")
    if choice.engine == "batched" or job.device.type != "cpu":  # an accelerator is only waited for at the end
        return totals, (time.perf_counter() - start) / len(coordinates)
    return totals, watch.seconds_per_point(skip)


def _same(totals: Totals, reference: Totals, job: Job) -> bool:
    ours, theirs = totals.results()[0], reference.results()[0]
    n = min(len(ours), len(theirs))
    return bool(np.allclose(ours[:n], theirs[:n], rtol=rounding(job.slots), atol=1e-12, equal_nan=True))
