"""The loss of whole checkpoints, rather than of points near one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .closure import Closure, ClosureTask, Task
from .harmless import harmless
from .modes import BatchNorm, check_batch_norm, recalibrated
from .objective import Objective
from .sums import Sums
from .surface import LossSurface
from .weights import Weights, WeightsReader


def _state(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


def _run_through(model: nn.Module, task: Task, device: torch.device) -> None:
    for unit in task.units(device):
        task.values(model, unit)


def true_losses(
    model: nn.Module,
    objective: Objective | Closure,
    checkpoints: Sequence[Weights],
    *,
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    progress: bool = False,
) -> LossSurface:
    """Evaluate the loss of each checkpoint with all of its weights and buffers.

    A contour under a projected path shows the loss of the projection; this is the loss of the run itself. All
    checkpoints see the same data and the same random numbers.

    Every checkpoint is copied into the model in turn, so that a closure over it works; afterwards, also after an
    exception or an interrupt, everything is bitwise as it was, as after :func:`~lrscape.landscape.evaluate`.

    Args:
        model: A module of the right architecture.
        objective: An :class:`Objective`, or a closure over the model that returns the loss.
        checkpoints: T of them: paths, state dicts, or modules, the model itself included.
        batch_norm: As in :func:`~lrscape.landscape.evaluate`; "eval" uses each checkpoint's own running statistics.
        dropout: Likewise.
        progress: Show a progress bar on standard error.

    Returns:
        T losses, metrics and standard errors; the coordinate of each, shape (T, 1), is its number from 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no checkpoint or one does not fit the model, or an option has another value.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> states = [{"weight": torch.full((1, 1), value)} for value in (2.0, 3.0)]
        >>> true_losses(model, lambda: model.weight.sum() ** 2, states).losses.tolist()
        [4.0, 9.0]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(checkpoints, Sequence) or isinstance(checkpoints, str | bytes):
        raise TypeError(f"checkpoints must be a sequence of weights, got {type(checkpoints).__name__}; pass a list")
    if not (callable(objective) or isinstance(objective, Objective)):
        raise TypeError(
            "objective must be an lrscape.landscape.Objective or a closure that returns the loss, got "
            f"{type(objective).__name__}"
        )
    if len(checkpoints) == 0:
        raise ValueError("checkpoints is empty; give at least one")
    check_batch_norm(batch_norm)
    task: Task = objective if isinstance(objective, Objective) else ClosureTask(objective)
    count, sums = len(checkpoints), None
    reader, targets = WeightsReader(model), _state(model)
    own = [tensor.clone() for tensor in targets]
    parameters = list(model.parameters())
    device = targets[0].device if targets else torch.device("cpu")
    with (
        tqdm(total=count, disable=not progress, unit="checkpoint", desc="lrscape") as bar,
        harmless(
            model,
            moved=[*parameters],
            backup=own[: len(parameters)],
            batch_norm=batch_norm,
            dropout=dropout,
            loader=task.loader,
        ) as (interrupt, rewind),
    ):
        for i in range(count):
            module = reader.module(checkpoints[i])
            for target, value in zip(targets, own if module is model else _state(module), strict=True):
                target.copy_(value)
            torch.clear_autocast_cache()  # a stale cast would hide the new weights
            rewind()
            if batch_norm == "recalibrate":
                recalibrated(model, partial(_run_through, model, task, device))
                rewind()
            for unit in task.units(device):
                values, weights = task.values(model, unit)
                sums = Sums(count, len(task.names), values) if sums is None else sums
                sums.add(slice(i, i + 1), values[None], weights[None])
                if i == 0:
                    sums.next_batch()
                interrupt.check()
            bar.update(1)
    assert sums is not None  # an objective without data has raised
    means, errors = sums.results()
    details: dict[str, Any] = {"model": f"{type(model).__module__}.{type(model).__qualname__}", "points": "checkpoints"}
    return LossSurface(
        coordinates=np.arange(float(count))[:, None],
        losses=means[:, 0].copy(),
        shape=(count,),
        metrics={name: means[:, i].copy() for i, name in enumerate(task.names) if i > 0},
        standard_error=errors[:, 0].copy() if bool(np.isfinite(errors[:, 0]).any()) else None,
        provenance=details | {"batch_norm": batch_norm, "dropout": dropout},
    )
