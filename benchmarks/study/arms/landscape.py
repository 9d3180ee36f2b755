"""This package's schedulers."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any, Literal

from lrscape import schedulers
from lrscape.schedulers import LandscapeLR, TopoCNNLR, TopoLR

from ..averages import default
from ..workloads.workload import Batch
from .policy import Policy, Setting, level, ramp, warmup

PROBES = 30  # in the whole budget; the defaults of TopoLR are made for runs of many thousand steps
DENSE_PROBES = 15  # of TopoCNNLR, each of 225 points
LEAST = 5  # steps between probes
UNUSED = 1e-3  # the optimizer wants a rate
PART = 4  # TopoCNNLR measures on a quarter of the batch


class Steered(Policy):
    """Train with a scheduler that probes after the optimizer's step, on the batch just used.

    Args:
        setting: What to train.
        scheduler: Of this package.
        part: The probe sees one in so many examples.
    """

    scheduler: LandscapeLR

    def __init__(self, setting: Setting, scheduler: LandscapeLR, part: int = 1) -> None:
        super().__init__(scheduler.optimizer, scheduler)
        self._setting, self._part = setting, part

    def after(self, batch: Batch, loss: float) -> None:
        """Probe and step.

        Args:
            batch: The batch just used.
            loss: Not needed.
        """
        size = -(-len(batch[0]) // self._part)
        self.scheduler.probe(self._setting.closure((batch[0][:size], batch[1][:size])))
        self.scheduler.step()

    def report(self) -> dict[str, Any]:
        """Count what the scheduler decided."""
        return {"decisions": dict(Counter(decision.reason for decision in self.scheduler.history))}


def topo(setting: Setting, preset: Literal["published", "corrected"]) -> Policy:
    """Steer with TopoLR after the warmup of the constant arm; the published preset probes when the paper does."""
    optimizer, start = setting.base(), warmup(setting.budget)
    inner = ramp(optimizer, start, level)
    # one point after the other, so that forward passes can be counted
    options: dict[str, Any] = {"preset": preset, "seed": setting.seed, "inner": inner, "engine": "inplace"}
    if preset == "corrected":
        options |= {"interval": max(LEAST, setting.budget // PROBES), "warmup": start}
    return Steered(setting, TopoLR(optimizer, setting.model, **options))


def topo_cnn(setting: Setting) -> Policy:
    """Steer with TopoCNNLR after the warmup of the constant arm."""
    optimizer, start = setting.base(), warmup(setting.budget)
    inner = ramp(optimizer, start, level)
    interval = max(LEAST, setting.budget // DENSE_PROBES)
    scheduler = TopoCNNLR(
        optimizer, setting.model, seed=setting.seed, inner=inner, engine="inplace", interval=interval, warmup=start
    )
    return Steered(setting, scheduler, PART)


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
