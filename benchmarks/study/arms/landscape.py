"""This package's schedulers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from lrscape import schedulers
from lrscape.schedulers import LandscapeLR, TopoCNNLR, TopoLR

from ..averages import default
from ..workloads.workload import Batch
from .policy import Descent, Policy, Setting, level, ramp, warmup

PROBES = 30  # in the whole budget; the defaults of TopoLR are made for runs of many thousand steps
DENSE_PROBES = 15  # of TopoCNNLR, each of 225 points
LEAST = 5  # steps between probes
UNUSED = 1e-3  # the optimizer wants a rate
PART = 4  # TopoCNNLR measures on a quarter of the batch


class Steered(Policy):
    """Train with a scheduler that probes where its kind does: on the batch just drawn, or on the one just used.

    Args:
        setting: What to train.
        scheduler: Of this package.
        part: The probe sees one in so many examples.
        descent: Computes gradients; by default those of the loss.
    """

    scheduler: LandscapeLR

    def __init__(self, setting: Setting, scheduler: LandscapeLR, part: int = 1, descent: Descent | None = None) -> None:
        super().__init__(scheduler.optimizer, scheduler, descent=descent)
        self._setting, self._part = setting, part

    def _probe(self, batch: Batch) -> None:
        size = -(-len(batch[0]) // self._part)
        self.scheduler.probe(self._setting.closure((batch[0][:size], batch[1][:size])))

    def before(self, batch: Batch) -> None:
        """Probe, if the scheduler measures first.

        Args:
            batch: Not yet trained on.
        """
        if self.scheduler.probes_first:
            self._probe(batch)

    def after(self, batch: Batch, loss: float) -> None:
        """Probe, if the scheduler measures last, and step.

        Args:
            batch: The batch just used.
            loss: Not needed.
        """
        if not self.scheduler.probes_first:
            self._probe(batch)
        self.scheduler.step()

    def report(self) -> dict[str, Any]:
        """Count what the scheduler decided."""
        return {"decisions": dict(Counter(decision.reason for decision in self.scheduler.history))}


def topo(
    setting: Setting,
    preset: Literal["published", "corrected"] = "corrected",
    *,
    kind: Callable[..., LandscapeLR] = TopoLR,
    part: int = 1,
    descent: Callable[[Setting], Descent] | None = None,
    layers: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Policy:
    """Steer with TopoLR after the warmup of the constant arm; the published preset probes when the paper does.

    Args:
        setting: What to train.
        preset: Of TopoLR.
        kind: TopoLR, or a class or function that takes its place.
        part: The probe sees one in so many examples.
        descent: Makes what computes gradients.
        layers: Whether each layer is a parameter group.
        changes: Options that differ.

    Returns:
        The policy.
    """
    optimizer, start = setting.base(layers=layers), warmup(setting.budget)
    inner = ramp(optimizer, start, level)
    # one point after the other, so that forward passes can be counted
    options: dict[str, Any] = {"seed": setting.seed, "inner": inner, "engine": "inplace"}
    options |= (
        {"preset": preset}
        if preset == "published"
        else {"interval": max(LEAST, setting.budget // PROBES), "warmup": start}
    )
    scheduler = kind(optimizer, setting.model, **options | dict(changes or {}))
    return Steered(setting, scheduler, part, None if descent is None else descent(setting))


def topo_cnn(setting: Setting, changes: Mapping[str, Any] | None = None) -> Policy:
    """Steer with TopoCNNLR after the warmup of the constant arm; the published preset on whole batches.

    Args:
        setting: What to train.
        changes: Options that differ from the defaults.

    Returns:
        The policy.
    """
    optimizer, start = setting.base(), warmup(setting.budget)
    options: dict[str, Any] = {
        "seed": setting.seed,
        "inner": ramp(optimizer, start, level),
        "engine": "inplace",
        "interval": max(LEAST, setting.budget // DENSE_PROBES),
        "warmup": start,
    } | dict(changes or {})
    published = options.get("preset") == "published"
    return Steered(setting, TopoCNNLR(optimizer, setting.model, **options), 1 if published else PART)


class Valley(Policy):
    """Train with ValleyLR, which is given neither a rate nor a horizon.

    Args:
        setting: What to train; its rate and its steps are not looked at.
        speed: The growth's default is raised to this power.
        start: Times the default start.
    """

    def __init__(self, setting: Setting, speed: float = 1.0, start: float = 1.0) -> None:
        changes = (
            {} if speed == start == 1.0 else {"growth": default("growth") ** speed, "start": default("start") * start}
        )
        self._valley = schedulers.ValleyLR(setting.base(UNUSED), setting.model, **changes)
        super().__init__(self._valley.optimizer, self._valley)
        self._setting = setting
        self._steps = self._turn = 0

    def before(self, batch: Batch) -> None:
        """Probe on the batch just drawn.

        Args:
            batch: Not yet trained on.
        """
        self._valley.probe(self._setting.closure(batch))

    def after(self, batch: Batch, loss: float) -> None:
        """Step, and note when the rate stops growing.

        Args:
            batch: Not needed.
            loss: Not needed.
        """
        self._valley.step()
        self._steps += 1
        if self._valley.climbing:
            self._turn = self._steps

    def averaged(self) -> AbstractContextManager[Any]:
        """Give the context with the scheduler's own average."""
        return self._valley.averaged()

    def report(self) -> dict[str, Any]:
        """Give the rate found, the steps of the ascent, the options, and count what was decided."""
        return {
            "rate_found": self.rate(),
            "ascent": self._turn,
            "options": {name: getattr(self._valley, name) for name in ("start", "growth", "alpha", "brake")},
            "decisions": dict(Counter(decision.reason for decision in self._valley.history)),
        }
