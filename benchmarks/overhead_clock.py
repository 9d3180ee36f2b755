"""Time the parts of training steps in turn, and compose from them what a mode adds to a training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .overhead_models import Batch, losses
from .overhead_modes import TRAINED_EVERY, Arm

Clock = Callable[[], float]


def clock_of(device: torch.device, wall: bool = False) -> tuple[str, Clock]:
    """Choose what is measured.

    Args:
        device: On a GPU it is time by the wall clock, when the GPU has finished.
        wall: On a CPU, too. Else it is the time of the processor, in which other processes do not count.

    Returns:
        What it is called, and the clock in seconds.
    """

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    if device.type == "cuda":
        return "wall", finished
    return ("wall", time.perf_counter) if wall else ("processor", time.process_time)


@dataclass
class Parts:
    """Seconds by round.

    Attributes:
        core: Zeroing of gradients, forward and backward pass.
        base: Step of the plain optimizer.
        tail: What the mode does in its place.
        own_core: The mode's own forward and backward pass, if it has one.
        probe: Of the mode, if it probes.
        training: Of TopoCNN, once.
    """

    core: list[float] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    tail: list[float] = field(default_factory=list)
    own_core: list[float] = field(default_factory=list)
    probe: list[float] = field(default_factory=list)
    training: float = 0.0

    def plain(self) -> list[float]:
        """Give the time of plain training steps."""
        return [core + base for core, base in zip(self.core, self.base, strict=True)]

    def every_step(self) -> list[float]:
        """Give what the mode adds to every step, as a share of the round's plain step."""
        own = self.own_core or self.core
        added = [t - b + o - c for t, b, o, c in zip(self.tail, self.base, own, self.core, strict=True)]
        return [a / p for a, p in zip(added, self.plain(), strict=True)]

    def probes(self) -> list[float]:
        """Give the time of probes, with TopoCNN's share in training, in plain steps of the round."""
        share = self.training / TRAINED_EVERY
        return [(probe + share) / plain for probe, plain in zip(self.probe, self.plain(), strict=False)]


def measure(
    model: nn.Module, arm: Arm, batches: Sequence[Batch], clock: Clock, rounds: int, seconds: float = float("inf")
) -> Parts:
    """Time a plain training step and a mode at work in turn.

    In a round there are a forward and a backward pass, then the steps of the plain optimizer and of the mode, which
    come first in turn, and a probe. Both optimizers move the same model by little. A round without a probe comes before
    those that count: kernels are chosen in it, and memory is asked for.

    Args:
        model: To train.
        arm: The mode.
        batches: Used in turn.
        clock: Gives seconds.
        rounds: How many at most.
        seconds: No round but the first begins later than that by the clock.

    Returns:
        The times of the rounds that count.
    """
    parts = Parts()
    seen: list[Tensor] = []

    def timed(into: list[float], call: Callable[..., object], *arguments: object) -> None:
        start = clock()
        call(*arguments)
        into.append(clock() - start)

    def core(batch: Batch) -> None:
        model.zero_grad()
        each = losses(model, batch)
        torch.autograd.backward(each.mean())
        seen[:] = [each.detach()]

    def steps(batch: Batch, into: Parts, ours_first: bool) -> None:
        timed(into.core, core, batch)
        if arm.core is not None:
            timed(into.own_core, arm.core, batch)
        if not ours_first:
            timed(into.base, arm.base.step)
        timed(into.tail, arm.tail, batch, seen[0])
        if ours_first:
            timed(into.base, arm.base.step)

    steps(batches[-1], Parts(), ours_first=False)
    began = clock()
    for number in range(rounds):
        if number > 0 and clock() - began > seconds:
            break
        batch = batches[number % len(batches)]
        steps(batch, parts, ours_first=number % 2 == 1)
        if arm.probe is not None:
            timed(parts.probe, arm.probe, batch)
    if arm.training is not None:
        once: list[float] = []
        timed(once, arm.training)
        parts.training = once[0]
    return parts
