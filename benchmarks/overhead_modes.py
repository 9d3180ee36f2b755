"""The modes whose overhead is timed: what each does at every step, what it does at a probe, and how often it probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from ..optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD
from ..schedulers import (
    AdaptiveHomotopyLR,
    CurvatureWarmup,
    HomotopyLR,
    InducedMetricLR,
    LandscapeLR,
    PerLayerHomotopyLR,
    RiverLR,
    TopoCNNLR,
    TopoLR,
    ValleyLR,
    ValleyMeasurement,
    layer_param_groups,
)
from ..schedulers.probed_batch import on_batch
from ..schedulers.topocnn_measurement import read_probe
from .overhead_models import Batch, loss
from .sam import sam_backward
from .topocnn_cost import PRESETS, RETRAIN_EVERY, surfaces

RATE = 1e-4  # low, so that nothing diverges on labels that mean nothing
HELD = range(512, 1024)  # steps at which ValleyLR is looked at once its rate is held; later it probes more rarely still
KEPT = 500  # images that TopoCNN is trained on at most
Preset = Literal["published", "corrected"]


@dataclass(frozen=True)
class Arm:
    """A mode at work on a model.

    Attributes:
        base: The plain optimizer that it is compared with.
        tail: What follows the backward pass at every step, given the batch and the losses of its examples: the
            optimizer's step and all that the mode does where no probe is due.
        probe: A probe, given a batch, or None.
        frequency: Probes per step.
        core: Forward and backward pass, where the mode has its own.
        training: Of TopoCNN; one comes with every 25th probe.
        told: What else to write down.
    """

    base: Optimizer
    tail: Callable[[Batch, Tensor], object]
    probe: Callable[[Batch], object] | None = None
    frequency: float = 0.0
    core: Callable[[Batch], object] | None = None
    training: Callable[[], object] | None = None
    told: Callable[[], dict[str, Any]] = field(default=dict)


def part_of(batch: Batch, part: int) -> int:
    """Count the examples of one part of so many."""
    return -(-len(batch[0]) // part)


def scheduled(model: nn.Module, scheduler: LandscapeLR, frequency: float | None = None, part: int = 1) -> Arm:
    """Put a scheduler to work.

    A probe is what ``probe`` does when it is due; whether it is due is asked at every step.

    Args:
        model: To train.
        scheduler: Of an optimizer of this model.
        frequency: Probes per step; by default one in ``interval`` steps.
        part: Probes see one in so many examples.

    Returns:
        The mode at work.
    """

    def tail(_batch: Batch, _losses: Tensor) -> None:
        scheduler.optimizer.step()
        scheduler.due()
        scheduler.step()

    def probe(batch: Batch) -> None:
        closure = on_batch(partial(loss, model), batch, part_of(batch, part))
        scheduler.observe(scheduler.measure(closure))

    def told() -> dict[str, Any]:
        hvps = [decision.measurement["hvps"] for decision in scheduler.history if "hvps" in decision.measurement]
        return {"hvps": hvps} if hvps else {}

    share = 1 / scheduler.interval if frequency is None else frequency
    return Arm(_adamw(model), tail, probe, share, told=told)


def _adamw(model: nn.Module) -> AdamW:
    return AdamW(model.parameters(), lr=RATE)


def _sgd(model: nn.Module) -> SGD:
    return SGD(model.parameters(), lr=RATE, momentum=0.9)


def _plain(kind: Callable[..., LandscapeLR], model: nn.Module, part: int = 1, **options: Any) -> Arm:
    return scheduled(model, kind(_adamw(model), model, **options), part=part)


def _topo_cnn(model: nn.Module, preset: Preset, part: int = 1) -> Arm:
    """Fill the buffer, let the network decide, and train only when asked to."""
    options: dict[str, Any] = {"min_samples": KEPT, "retrain_every": 10 * KEPT, "buffer_capacity": KEPT}
    scheduler = TopoCNNLR(_adamw(model), model, preset=preset, **options)
    found = [read_probe(surface, published=preset == "published") for surface in surfaces(PRESETS[preset], 5)]
    for number in range(KEPT):
        scheduler.observe(found[number % len(found)])
    scheduler._trainer.ready = True
    arm = scheduled(model, scheduler, part=part)
    return Arm(arm.base, arm.tail, arm.probe, arm.frequency, training=scheduler._trainer._train)


def _per_layer(model: nn.Module) -> Arm:
    return scheduled(model, PerLayerHomotopyLR(AdamW(layer_param_groups(model), lr=RATE), model))


def share_due(scheduler: LandscapeLR, going: Callable[[int], bool], start: int = 0) -> float:
    """Count how often a scheduler wants to probe.

    Args:
        scheduler: Its optimizer takes steps without gradients here.
        going: Whether to go on, given the steps taken.
        start: Steps that do not count.

    Returns:
        Probes per step.
    """
    steps = probes = 0
    while going(steps):
        probes += scheduler.due() and steps >= start
        scheduler.optimizer.step()
        scheduler.step()
        steps += 1
    return probes / (steps - start)


def _warmup(model: nn.Module) -> Arm:
    """Count the probes of a whole warmup that nothing holds up."""
    little = nn.Linear(1, 1)
    lone = CurvatureWarmup(_adamw(little), little)
    return scheduled(model, CurvatureWarmup(_adamw(model), model), share_due(lone, lambda _: not lone.finished))


def held(scheduler: ValleyLR) -> ValleyLR:
    """Let the rate of ValleyLR be found."""
    for height in (0.0, 0.0, 0.0, 0.0, *[1.0] * 4):
        scheduler.observe(ValleyMeasurement(loss=1.0, average_loss=1.0 - height, height=height))
    assert not scheduler.climbing
    return scheduler


def _valley(model: nn.Module, *, found: bool) -> Arm:
    scheduler = ValleyLR(_adamw(model), model)
    if not found:
        return scheduled(model, scheduler)
    little = nn.Linear(1, 1)
    lone = held(ValleyLR(_adamw(little), little))
    return scheduled(model, held(scheduler), share_due(lone, lambda steps: steps < HELD.stop, HELD.start))


def _river(model: nn.Module) -> Arm:
    """The losses of single examples come out of training's own pass."""
    optimizer = _adamw(model)
    scheduler = RiverLR(optimizer)

    def tail(_batch: Batch, losses: Tensor) -> None:
        optimizer.step()
        scheduler.observe(losses)
        scheduler.step()

    return Arm(_adamw(model), tail)


def _metric(model: nn.Module) -> Arm:
    optimizer = _adamw(model)
    scheduler = InducedMetricLR(optimizer)

    def tail(_batch: Batch, _losses: Tensor) -> None:
        optimizer.step()
        scheduler.step()

    return Arm(_adamw(model), tail)


def _optimizer(model: nn.Module, kind: Callable[..., Any], base: Callable[[nn.Module], Optimizer]) -> Arm:
    optimizer = kind(model.parameters(), lr=RATE)
    if kind is InducedMetricLog:
        return Arm(base(model), lambda _batch, losses: optimizer.step(loss=losses.mean()))
    return Arm(base(model), lambda _batch, _losses: optimizer.step())


def _sam(model: nn.Module) -> Arm:
    optimizer = _sgd(model)

    def core(batch: Batch) -> None:
        model.zero_grad()
        sam_backward(lambda: loss(model, batch), model.parameters(), 0.05)

    return Arm(_sgd(model), lambda _batch, _losses: optimizer.step(), core=core)


def _published(model: nn.Module, *, network: bool) -> Arm:
    """Put topoadamw's own code to work; its step copies the batch."""
    from topoadamw import TopoAdamW  # type: ignore[import-not-found]  # it may not be installed

    options = {"min_samples": KEPT, "retrain_every": 10 * KEPT, "buffer_capacity": KEPT}
    optimizer = TopoAdamW(model.parameters(), model, lr=RATE, use_topo_cnn=network, topo_cnn_kwargs=options)
    training = None
    if network:
        trainer = optimizer._topo_trainer
        for number in range(KEPT):
            trainer.add_sample(torch.rand(2, 50, 50), number % 3 / 5, 0.1)
        trainer.is_ready, training = True, trainer._train

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, -2), target.flatten())

    def tail(batch: Batch, _losses: Tensor) -> None:
        optimizer.step(data=batch[0], target=batch[1], criterion=loss)

    def probe(batch: Batch) -> None:
        optimizer._adjust_learning_rate(*batch, loss)

    return Arm(_adamw(model), tail, probe, 1 / optimizer.interval, training=training)


MODES: dict[str, Callable[[nn.Module], Arm]] = {
    "TopoLR": partial(_plain, TopoLR),
    "TopoLR, quarter of the batch": partial(_plain, TopoLR, part=4),
    "TopoLR, published": partial(_plain, TopoLR, preset="published"),
    "TopoCNNLR": partial(_topo_cnn, preset="corrected"),
    "TopoCNNLR, quarter of the batch": partial(_topo_cnn, preset="corrected", part=4),
    "TopoCNNLR, published": partial(_topo_cnn, preset="published"),
    "HomotopyLR": partial(_plain, HomotopyLR),
    "HomotopyLR, kappa": partial(_plain, HomotopyLR, criterion="kappa"),
    "AdaptiveHomotopyLR": partial(_plain, AdaptiveHomotopyLR),
    "PerLayerHomotopyLR": _per_layer,
    "CurvatureWarmup": _warmup,
    "ValleyLR, ascent": partial(_valley, found=False),
    "ValleyLR, held": partial(_valley, found=True),
    "RiverLR": _river,
    "InducedMetricLR": _metric,
    "InducedMetricSGD": partial(_optimizer, kind=InducedMetricSGD, base=_sgd),
    "InducedMetricLog": partial(_optimizer, kind=InducedMetricLog, base=_sgd),
    "InducedMetricRMS": partial(_optimizer, kind=InducedMetricRMS, base=_adamw),
    "SAM": _sam,
    "topoadamw": partial(_published, network=False),
    "topoadamw, TopoCNN": partial(_published, network=True),
}
TRAINED_EVERY = RETRAIN_EVERY  # probes
