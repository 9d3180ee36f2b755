"""Points evaluated block by block: by several ranks, with saves in between, going on where a scan was cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .engines import Choice, Engine, Job, choice_of, fixed_engine, run
from .identity import identity
from .objective import Objective
from .partial_scan import PartialScan
from .random_state import give_state, take_state
from .randomness import preserved
from .ranks import Ranks
from .scan_state import BETWEEN_SAVES, Bar, Kept
from .shards import any_spread
from .sharing import Dealt, Share, resolve_share
from .sums import Totals
from .trial import try_engines


@dataclass(frozen=True)
class Settings:
    """How a scan is run.

    Attributes:
        engine: The user's choice.
        chunk: Points per pass over the data; None to choose.
        threads: Workers; None to choose.
        share: How ranks share the work.
        trial: Whether "auto" may time engines; else it follows the fixed rule.
        partial: File for finished points.
        progress: Whether to show a bar.
    """

    engine: Engine = "auto"
    chunk: int | None = None
    threads: int | None = None
    share: Share = "auto"
    trial: bool = False
    partial: str | os.PathLike[str] | None = None
    progress: bool = False


@dataclass(frozen=True, eq=False)
class Scanned:
    """Sums at all points of a scan.

    Attributes:
        totals: The sums.
        choice: The engine that made them.
        ranks: Number of ranks.
        share: How they shared the work; None for one rank.
        resumed: Points that were found in the partial file.
    """

    totals: Totals
    choice: Choice
    ranks: int
    share: str | None
    resumed: int


def scan(job: Job, coordinates: NDArray[np.float64], settings: Settings) -> Scanned:
    """Evaluate all points.

    Args:
        job: What is evaluated.
        coordinates: Shape (N, k).
        settings: How.

    Returns:
        The sums, the same on every rank.

    Raises:
        RuntimeError: If another rank failed.
        ValueError: If the partial file belongs to another scan.
    """
    ranks = Ranks(together=settings.share != "none")
    share = resolve_share(settings.share, job, ranks) if ranks.size > 1 else None
    if share == "batches":
        job = replace(job, task=Dealt(job.task, ranks))
    if settings.partial is None and share is None and not settings.trial:
        return _at_once(job, coordinates, settings)  # as probes in a training loop do
    kept = Kept(len(coordinates), settings.partial if ranks.first else None)
    with preserved(job.task.loader):
        choice = _begin(job, coordinates, settings, ranks, share, kept)
        resumed = int(kept.done.sum())
        try:
            choice = _rounds(job, coordinates, settings, ranks, share, kept, choice)
        finally:
            kept.save(choice, now=True)
    assert kept.values is not None
    return Scanned(Totals(kept.values, kept.batches), choice, ranks.size, share, resumed)


def _chosen(job: Job, count: int, settings: Settings) -> Choice:
    if any_spread(job.model.parameters()):  # also over one rank only
        return choice_of("inplace", job, count, settings.chunk)
    engine = fixed_engine(job.model, job.slots) if settings.engine == "auto" else settings.engine
    if settings.engine == "auto" and job.memory == "low":
        engine = "inplace"
    return choice_of(engine, job, count, settings.chunk, settings.threads)


def _at_once(job: Job, coordinates: NDArray[np.float64], settings: Settings) -> Scanned:
    with Bar(job.task.size(), len(coordinates), 0, settings.progress, 1) as bar:
        totals, choice = run(_chosen(job, len(coordinates), settings), job, coordinates, bar)
    return Scanned(totals, choice, 1, None, 0)


def _begin(
    job: Job, coordinates: NDArray[np.float64], settings: Settings, ranks: Ranks, share: str | None, kept: Kept
) -> Choice:
    """Settle the random state, what is done already and the engine: rank 0 decides for all."""
    own = share == "data"  # each rank has its own data, so its own random state belongs to them
    needed = ranks.size > 1 or settings.partial is not None
    states = ranks.gather(take_state(job.task.loader)) if needed and isinstance(job.task, Objective | Dealt) else []
    states = states if own else states[:1]
    found: PartialScan | None = None
    if settings.partial is not None:
        error: Exception | None = None
        if ranks.first and Path(settings.partial).exists():
            try:
                found = PartialScan.load(settings.partial)
                states = found.random or states
            except ValueError as problem:
                error = problem
        ranks.agree(error)
    found, states = ranks.broadcast((found, states))
    if states and (not own or len(states) == ranks.size):
        give_state(states[ranks.rank if own else 0], job.task.loader)
    if settings.partial is not None:
        about = _identity(job, coordinates, settings, ranks, own)
        kept.describe(about, states)
        error = None
        if found is not None:
            try:
                found.check(about, settings.partial)
            except ValueError as problem:
                error = problem
        ranks.agree(error)
    if found is not None:
        kept.take(found)
        return found.choice
    return _choose(job, coordinates, settings, ranks, kept)


def _identity(
    job: Job, coordinates: NDArray[np.float64], settings: Settings, ranks: Ranks, own: bool
) -> dict[str, str]:
    whole = replace(job, task=job.task.whole) if isinstance(job.task, Dealt) else job
    parts = identity(whole, coordinates, f"{ranks.size} with data of their own" if own else "the same data")
    asked = {"engine": settings.engine, "chunk": settings.chunk, "threads": settings.threads}
    parts |= {name: str(value) for name, value in asked.items()}
    if own or any_spread(job.model.parameters()):
        every = ranks.gather(parts)
        parts = {name: "; ".join(dict.fromkeys(each[name] for each in every)) for name in parts}
    return ranks.broadcast(parts)


def _choose(job: Job, coordinates: NDArray[np.float64], settings: Settings, ranks: Ranks, kept: Kept) -> Choice:
    count = len(coordinates)
    if any_spread(job.model.parameters()) or settings.engine != "auto" or not settings.trial:
        return _chosen(job, count, settings)
    if ranks.size == 1:
        choice, totals = try_engines(job, coordinates, settings.chunk, settings.threads)
        if totals is not None:
            kept.add(0, totals)
        return choice
    if not isinstance(job.task, Objective):
        return _chosen(job, count, settings)  # a closure may wait for the other ranks in its forward pass
    choice, failed = _chosen(job, count, settings), None
    if ranks.first:
        try:
            choice, _ = try_engines(job, coordinates, settings.chunk, settings.threads)
        except Exception as error:  # the user's code may raise anything; the other ranks must hear of it
            failed = error
    ranks.agree(failed)
    return ranks.broadcast(choice)


def _rounds(
    job: Job,
    coordinates: NDArray[np.float64],
    settings: Settings,
    ranks: Ranks,
    share: str | None,
    kept: Kept,
    choice: Choice,
) -> Choice:
    count = len(coordinates)
    split = ranks.size if share == "points" else 1
    size = count if settings.partial is None else _aligned(4 * choice.threads, choice, split)
    shown = settings.progress and ranks.first
    with Bar(job.task.size(), count, int(kept.done.sum()), shown, ranks.size if share == "batches" else 1) as advance:
        while not kept.done.all():
            first = int(kept.done.argmin())
            block = np.arange(first, min(count, first + size))
            start = time.monotonic()
            totals, choice = _round(job, coordinates, block, ranks, share, choice, lambda n: advance(n * split))
            kept.add(first, totals)
            kept.save(choice)
            if settings.partial is not None:
                seconds = ranks.broadcast(time.monotonic() - start)
                size = _aligned(min(4 * size, int(size * BETWEEN_SAVES / max(seconds, 1e-9))), choice, split)
    return choice


def _aligned(size: int, choice: Choice, split: int) -> int:
    """Round a number of points up to whole chunks for every rank: under vmap, the numbers depend on the chunk."""
    step = (choice.chunk if choice.engine == "batched" else 1) * split
    return max(1, -(-size // step)) * step


def _round(
    job: Job,
    coordinates: NDArray[np.float64],
    block: NDArray[np.intp],
    ranks: Ranks,
    share: str | None,
    choice: Choice,
    advance: Callable[[int], object],
) -> tuple[Totals, Choice]:
    """Evaluate one block on all ranks."""
    mine = block
    if share == "points":
        step = choice.chunk if choice.engine == "batched" else 1
        pieces = np.array_split(np.arange(-(-len(block) // step)), ranks.size)[ranks.rank]
        mine = block[pieces[0] * step : (pieces[-1] + 1) * step] if len(pieces) else block[:0]

    def own_part() -> tuple[Totals | None, Choice]:
        return run(choice, job, coordinates[mine], advance) if len(mine) else (None, choice)

    totals, used = ranks.jointly(own_part)
    if ranks.size == 1:
        assert totals is not None
        return totals, used
    if isinstance(job.task, Dealt) and totals is not None:
        totals = Totals(totals.values, totals.batches - job.task.padded)
    parts = ranks.gather((totals, used))
    given = [part for part, _ in parts if part is not None]
    return (Totals.joined if share == "points" else Totals.added)(given), parts[0][1]
