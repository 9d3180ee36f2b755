"""Evaluate a model at points: the arguments checked, the numbers as a surface."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .closure import Closure, ClosureTask, Task
from .directions import Directions
from .engines import Engine, Job, Memory, check_engine
from .modes import BatchNorm, check_batch_norm
from .objective import Objective
from .parameters import Slot, all_slots
from .points import Points
from .precision import precision
from .scan import Scanned, Settings, scan
from .shards import resharded
from .sharing import Share, check_share
from .surface import LossSurface


def _fit(model: nn.Module, directions: Directions) -> list[Slot]:
    """Match directions with a model by name and shape."""
    if not isinstance(directions, Directions):
        raise TypeError(
            f"directions must be lrscape.landscape.Directions, got {type(directions).__name__}; make them with "
            "random_directions or directions_from_vectors"
        )
    slots = [slot for slot in all_slots(model) if slot.canonical in directions.tensors]
    for slot in slots:
        expected, given = tuple(slot.parameter.shape), directions.shape(slot.canonical)
        if expected != given:
            raise ValueError(f"directions move {slot.canonical} with shape {given}, but the model's has {expected}")
    missing = set(directions.tensors) - {slot.canonical for slot in slots}
    if missing:
        raise ValueError(
            f"directions move {', '.join(sorted(missing)[:5])}, which {type(model).__name__} does not have; make them "
            "from this model"
        )
    return slots


def _task(objective: Objective | Closure) -> Task:
    if isinstance(objective, Objective):
        return objective
    if callable(objective):
        return ClosureTask(objective)
    raise TypeError(
        f"objective must be an lrscape.landscape.Objective or a closure, a function that returns the loss, got "
        f"{type(objective).__name__}; pass e.g. lambda: criterion(model(x), y)"
    )


def _check_count(value: int | None, name: str, what: str) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{name} must be at least 1 {what}, got {value}")


def sweep(
    model: nn.Module,
    objective: Objective | Closure,
    directions: Directions,
    points: Points,
    *,
    engine: Engine = "auto",
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    chunk: int | None = None,
    threads: int | None = None,
    memory: Memory | None = None,
    autocast: torch.dtype | None = None,
    tf32: bool | None = None,
    cuda_graph: bool = False,
    share: Share = "auto",
    partial: str | os.PathLike[str] | None = None,
    progress: bool = False,
    trial: bool = False,
) -> LossSurface:
    """Evaluate as :func:`~lrscape.landscape.evaluate` does, without describing where the surface comes from.

    Probes in a training loop use this: the lengths and angles of the directions cost as much as a forward pass of a
    small model.

    Args:
        model: As there.
        objective: As there.
        directions: As there.
        points: As there.
        engine: As there, but "auto" is a fixed rule on device and model.
        batch_norm: As there.
        dropout: As there.
        chunk: As there.
        threads: As there.
        memory: As there.
        autocast: As there.
        tf32: As there.
        cuda_graph: As there.
        share: As there.
        partial: As there.
        progress: As there.
        trial: Let "auto" time the engines where that is worth its while.

    Returns:
        The surface; its provenance holds the engine and its settings only.

    Raises:
        TypeError: As there.
        ValueError: As there.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(points, Points):
        raise TypeError(
            f"points must be lrscape.landscape.Points, got {type(points).__name__}; use grid, line or points"
        )
    check_engine(engine)
    check_share(share)
    check_batch_norm(batch_norm)
    _check_count(chunk, "chunk", "point")
    _check_count(threads, "threads", "worker")
    if memory not in {None, "normal", "low"}:
        raise ValueError(f"memory must be 'normal' or 'low', got {memory!r}")
    task = _task(objective)
    if isinstance(model, DistributedDataParallel) and isinstance(task, Objective):
        model = model.module  # its forward pass would wait for ranks that evaluate other points
    slots = _fit(model, directions)
    if points.dims != len(directions):
        raise ValueError(f"points have {points.dims} coordinates each, but there are {len(directions)} directions")
    lazy = not isinstance(directions.tensors, dict)
    memory = memory or ("low" if lazy else "normal")
    job = Job(model, task, slots, directions, batch_norm, dropout, memory, cuda_graph)
    if cuda_graph and job.device.type != "cuda":
        raise ValueError(f"cuda_graph=True needs a model on an NVIDIA GPU, got one on {job.device}")
    if job.memory == "low" and engine not in {"auto", "inplace"}:
        raise ValueError(
            f"memory='low' moves the model's own weights block by block: use engine='inplace', not {engine!r}"
        )
    settings = Settings(engine, chunk, threads, share, trial, partial, progress)
    with ExitStack() as stack:
        if autocast is not None or tf32 is not None:
            stack.enter_context(precision(job.device, autocast, tf32))
        stack.enter_context(resharded(model))  # else the parameters of FSDP2's root may not look spread at the moment
        found = scan(job, points.coordinates, settings)
    return _surface(found, job, points, {"autocast": autocast, "tf32": tf32})


def _surface(found: Scanned, job: Job, points: Points, given: dict[str, Any]) -> LossSurface:
    means, errors = found.totals.results()
    choice, names = found.choice, job.task.names
    used: dict[str, Any] = {"engine": choice.engine, "chunk": choice.chunk}
    if choice.engine == "threads":
        used["threads"] = choice.threads
    if job.memory == "low":
        used["memory"] = "low"
    if job.cuda_graph:
        used["cuda_graph"] = True
    used |= {name: str(value) for name, value in given.items() if value is not None}
    used |= {"batch_norm": job.batch_norm, "dropout": job.dropout}
    if found.ranks > 1:
        used |= {"ranks": found.ranks, "share": found.share}
    if found.resumed:
        used["resumed"] = found.resumed
    many = isinstance(job.task, Objective) and found.totals.batches > 1
    return LossSurface(
        coordinates=points.coordinates,
        losses=means[:, 0].copy(),
        shape=points.shape,
        metrics={name: means[:, i].copy() for i, name in enumerate(names) if i > 0},
        standard_error=errors[:, 0].copy() if many else None,
        provenance=used,
    )
