"""Choose an engine and run it over points."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from tqdm.auto import tqdm

from .batched import NotBatchable, chunk_size, evaluate_batched
from .closure import Closure, ClosureTask, Task
from .directions import Directions
from .inplace import CHUNK, evaluate_inplace
from .modes import BatchNorm, check_batch_norm
from .objective import Objective
from .parameters import Slot, all_slots
from .points import Points
from .surface import LossSurface

Engine = Literal["auto", "inplace", "batched"]

logger = logging.getLogger("lrscape")
_fallbacks_logged: set[str] = set()

SMALL_ON_CPU = 20_000  # parameters; measured on two cores: below, a matrix-only model gains from vmap, above it loses
SMALL_ON_ACCELERATOR = 5_000_000  # parameters; small models wait for kernel launches there


def fixed_engine(model: nn.Module, slots: list[Slot]) -> Literal["inplace", "batched"]:
    """Choose an engine by a rule on device and model, never by a timing, so that every run and rank chooses alike.

    Args:
        model: The user's model.
        slots: The parameters that move.

    Returns:
        "batched" where forward passes are short compared with their overhead, else "inplace".
    """
    size = sum(slot.parameter.numel() for slot in slots)
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return "inplace"
    if slots[0].parameter.device.type != "cpu":
        return "batched" if size <= SMALL_ON_ACCELERATOR else "inplace"
    matrices = all(slot.parameter.dim() <= 2 for slot in slots)
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    return "batched" if size <= SMALL_ON_CPU and matrices and not attention else "inplace"


def _fit(model: nn.Module, directions: Directions) -> list[Slot]:
    """Match directions with a model by name and shape."""
    if not isinstance(directions, Directions):
        raise TypeError(
            f"directions must be lrscape.landscape.Directions, got {type(directions).__name__}; make them with "
            "random_directions or directions_from_vectors"
        )
    slots = [slot for slot in all_slots(model) if slot.canonical in directions.tensors]
    for slot in slots:
        expected, given = tuple(slot.parameter.shape), tuple(directions.tensors[slot.canonical].shape[1:])
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


def _log_fallback(model: nn.Module, reason: str) -> None:
    key = f"{type(model).__qualname__}: {reason}"
    if key not in _fallbacks_logged:
        _fallbacks_logged.add(key)
        logger.info("lrscape: %s cannot run under vmap, using the in-place engine (%s)", type(model).__name__, reason)


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
    progress: bool = False,
) -> LossSurface:
    """Evaluate as :func:`~lrscape.landscape.evaluate` does, without describing where the surface comes from.

    Probes in a training loop use this: the lengths and angles of the directions cost as much as a forward pass of a
    small model.

    Args:
        model: As there.
        objective: As there.
        directions: As there.
        points: As there.
        engine: As there.
        batch_norm: As there.
        dropout: As there.
        chunk: As there.
        progress: As there.

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
    if engine not in {"auto", "inplace", "batched"}:
        raise ValueError(f"engine must be 'auto', 'inplace' or 'batched', got {engine!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 point, got {chunk}")
    check_batch_norm(batch_norm)
    task = _task(objective)
    slots = _fit(model, directions)
    if points.dims != len(directions):
        raise ValueError(f"points have {points.dims} coordinates each, but there are {len(directions)} directions")
    chosen = fixed_engine(model, slots) if engine == "auto" else engine
    units = task.size()
    with tqdm(
        total=None if units is None else units * len(points), disable=not progress, unit="pass", desc="lrscape"
    ) as bar:
        settings: dict[str, Any] = {
            "batch_norm": batch_norm,
            "dropout": dropout,
            "chunk": chunk,
            "advance": bar.update if progress else _silent,
        }
        run: Callable[..., Any] = evaluate_batched if chosen == "batched" else evaluate_inplace
        try:
            means, errors = run(model, task, slots, directions, points.coordinates, **settings)
        except NotBatchable as reason:
            _log_fallback(model, str(reason))
            chosen = "inplace"
            bar.reset()
            means, errors = evaluate_inplace(model, task, slots, directions, points.coordinates, **settings)
    default = chunk_size(slots, len(points)) if chosen == "batched" else min(CHUNK, len(points))
    settings_used = {"engine": chosen, "chunk": chunk or default, "batch_norm": batch_norm, "dropout": dropout}
    many = isinstance(objective, Objective) and bool(torch.isfinite(torch.from_numpy(errors[:, 0])).any())
    return LossSurface(
        coordinates=points.coordinates,
        losses=means[:, 0].copy(),
        shape=points.shape,
        metrics={name: means[:, i].copy() for i, name in enumerate(task.names) if i > 0},
        standard_error=errors[:, 0].copy() if many else None,
        provenance=settings_used,
    )


def _silent(_: int) -> None:
    """Advance no bar."""
