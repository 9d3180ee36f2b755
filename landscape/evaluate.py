"""Evaluate losses at points around a model."""

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
from .provenance import provenance
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
        f"objective must be an lrscape.landscape.Objective or a closure that returns the loss, got "
        f"{type(objective).__name__}"
    )


def _log_fallback(model: nn.Module, reason: str) -> None:
    key = f"{type(model).__qualname__}: {reason}"
    if key not in _fallbacks_logged:
        _fallbacks_logged.add(key)
        logger.info("lrscape: %s cannot run under vmap, using the in-place engine (%s)", type(model).__name__, reason)


def evaluate(
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
    """Evaluate the loss L(θ + Σ_j c_j·d_j) at every point c.

    The definition is Eq. 1 of Goodfellow et al. 2014 (arXiv:1412.6544) for one direction and of Li et al. 2018
    (arXiv:1712.09913, section 3) for two. Afterwards, also after an exception or an interrupt, the model's parameters
    and their storage, buffers, gradients and modes, the random state and the loader's are bitwise what they were.

    Args:
        model: Any module.
        objective: An :class:`Objective`, or a closure that returns the loss as a 0-d tensor and does nothing else.
        directions: k directions of this model.
        points: N points in k dimensions.
        engine: "inplace" moves the weights in place, one point at a time; "batched" evaluates a chunk of points in one
            pass by vmap, and falls back to "inplace" (logged once) where the model cannot; "auto" chooses by a fixed
            rule on device and model. The engines agree to 1e-5 relative in float32 and 1e-12 in float64.
        batch_norm: "eval" uses running statistics; "batch" the statistics of each batch; "recalibrate" re-estimates
            the running statistics at each point with one more pass over the data.
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per pass over the data; chosen by default.
        progress: Show a progress bar on standard error.

    Returns:
        The surface. A loss that is not finite is a value like any other.

    Raises:
        TypeError: If an argument is of the wrong kind, or the loss is not a tensor.
        ValueError: If directions do not fit the model, points do not fit the directions, the loss is not 0-d, the
            closure runs a backward pass, or an option has an unknown value.

    Example:
        >>> from lrscape import landscape
        >>> model = nn.Linear(1, 1, bias=False)
        >>> directions = landscape.directions_from_vectors(model, torch.ones(1))
        >>> def closure():
        ...     return (model.weight - model.weight.detach().new_tensor(model.weight.item())).sum() + 2
        >>> landscape.evaluate(model, lambda: 0 * model.weight.sum() + 2, directions, landscape.line(3)).losses
        array([2., 2., 2.])
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
    details = provenance(model, slots, directions, points)
    details |= {"engine": chosen, "chunk": chunk or default, "batch_norm": batch_norm, "dropout": dropout}
    many = isinstance(objective, Objective) and bool(torch.isfinite(torch.from_numpy(errors[:, 0])).any())
    return LossSurface(
        coordinates=points.coordinates,
        losses=means[:, 0].copy(),
        shape=points.shape,
        metrics={name: means[:, i].copy() for i, name in enumerate(task.names) if i > 0},
        standard_error=errors[:, 0].copy() if many else None,
        provenance=details,
    )


def _silent(_: int) -> None:
    """Advance no bar."""
