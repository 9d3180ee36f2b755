"""The demo's training runs: one model, one seed, several schedulers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from ..schedulers import LandscapeLR, TopoLR
from .digits import Digits, model, noisy_labels

PEAK = 3e-3
BATCH = 64

ARMS: dict[str, Callable[[Optimizer, nn.Module, int], LRScheduler]] = {
    "constant": lambda optimizer, _model, _steps: LambdaLR(optimizer, lambda _: 1.0),
    "cosine": lambda optimizer, _model, steps: CosineAnnealingLR(optimizer, steps),
    "TopoLR": lambda optimizer, model, _steps: TopoLR(optimizer, model, interval=50),
}


@dataclass
class Outcome:
    """One finished run.

    Attributes:
        model: The trained model, in eval mode.
        scheduler: With its history, if it has one.
        rates: Learning rate after each step.
        steps: When the test loss was read.
        losses: Test losses then.
        accuracy: On the test set at the end.
        seconds: Wall-clock time of training, without the readings.
        probing: Seconds of those spent in probes.
    """

    model: nn.Sequential
    scheduler: LRScheduler
    rates: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    accuracy: float = float("nan")
    seconds: float = 0.0
    probing: float = 0.0


def _read(outcome: Outcome, data: Digits, step: int) -> None:
    outcome.model.eval()
    with torch.no_grad():
        logits = outcome.model(data.x_test)
    outcome.model.train()
    outcome.steps.append(step)
    outcome.losses.append(F.cross_entropy(logits, data.y_test).item())
    outcome.accuracy = (logits.argmax(1) == data.y_test).float().mean().item()


def train(arm: str, data: Digits, steps: int, seed: int, advance: Callable[[], object]) -> Outcome:
    """Train once.

    Args:
        arm: One of ARMS.
        data: The digits.
        steps: Optimizer steps.
        seed: Of weights, batches and label noise; the same for all arms.
        advance: Called after each step.

    Returns:
        The outcome.
    """
    labels = noisy_labels(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # inside the fork: the initialisation has no generator of its own
        net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK)
    outcome = Outcome(net, ARMS[arm](optimizer, net, steps))
    stream = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        start = time.perf_counter()
        chosen = torch.randint(len(labels), (BATCH,), generator=stream)
        x, y = data.x[chosen], labels[chosen]
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if isinstance(outcome.scheduler, LandscapeLR):
            before = time.perf_counter()
            outcome.scheduler.probe(lambda x=x, y=y: F.cross_entropy(net(x), y))
            outcome.probing += time.perf_counter() - before
        outcome.scheduler.step()
        outcome.seconds += time.perf_counter() - start
        outcome.rates.append(float(optimizer.param_groups[0]["lr"]))
        if step % (steps // 20) == 0 or step == 1:
            _read(outcome, data, step)
        advance()
    net.eval()
    return outcome
