"""Train CifarNet by modes as a user would, side by side with plain training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import AdamW

from ..schedulers import TopoCNNLR, TopoLR
from .overhead_clock import Clock
from .overhead_models import Batch, loss
from .overhead_modes import RATE, part_of

ROUND = 100  # steps: one or two intervals of each of these modes
Step = Callable[[Batch], object]


def plain(model: nn.Module) -> Step:
    """Train by AdamW."""
    optimizer = AdamW(model.parameters(), lr=RATE)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss(model, batch))
        optimizer.step()

    return step


def steered(model: nn.Module, kind: Any = TopoLR, part: int = 1, **options: Any) -> Step:
    """Train by AdamW and a scheduler that probes on a part of the batch."""
    optimizer = AdamW(model.parameters(), lr=RATE)
    scheduler = kind(optimizer, model, warmup=0, **options)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss(model, batch))
        optimizer.step()
        scheduler.probe(partial(loss, model), batch, subset=None if part == 1 else part_of(batch, part))
        scheduler.step()

    return step


def published(model: nn.Module, *, network: bool) -> Step:
    """Train by topoadamw, the published code."""
    from topoadamw import TopoAdamW  # type: ignore[import-not-found]  # it may not be installed

    optimizer = TopoAdamW(model.parameters(), model, lr=RATE, warmup_steps=0, use_topo_cnn=network)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss(model, batch))
        optimizer.step(data=batch[0], target=batch[1], criterion=F.cross_entropy)

    return step


LOOPS: dict[str, Callable[[nn.Module], Step]] = {
    "TopoLR": steered,
    "TopoLR, quarter of the batch": partial(steered, part=4),
    "TopoLR, published": partial(steered, preset="published"),
    "TopoCNNLR, published": partial(steered, kind=TopoCNNLR, preset="published"),
}
if find_spec("topoadamw") is not None:
    LOOPS |= {
        "topoadamw": partial(published, network=False),
        "topoadamw, TopoCNN": partial(published, network=True),
    }


def ratios(
    make: Callable[[], nn.Module], modes: Sequence[str], batches: Sequence[Batch], clock: Clock, rounds: int
) -> dict[str, list[float]]:
    """Time rounds of 100 steps of every mode.

    Each takes a step in turn, on models of their own, and who begins rotates: whatever else slows the machine down for
    seconds slows down all. Three steps of each come before.

    Args:
        make: Makes a model.
        modes: Of :data:`LOOPS`.
        batches: Used in turn.
        clock: Gives seconds.
        rounds: How many.

    Returns:
        By mode and round, the time of 100 steps in that of plain ones, less 1.
    """
    arms: list[Step] = [plain(make()), *(LOOPS[name](make()) for name in modes)]
    taken = torch.zeros(rounds, ROUND, len(arms), dtype=torch.float64)
    for step in arms:
        for batch in batches[:3]:
            step(batch)
    for turn in range(rounds):
        for number in range(ROUND):
            for place in range(len(arms)):
                chosen = (number + place) % len(arms)
                start = clock()
                arms[chosen](batches[number % len(batches)])
                taken[turn, number, chosen] = clock() - start
    whole = taken.sum(1)
    shares = (whole[:, 1:] / whole[:, :1] - 1).T.tolist()
    return dict(zip(modes, shares, strict=True))
