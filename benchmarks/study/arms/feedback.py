"""Schedulers that read what training computes anyway: the losses of examples, or the gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lrscape.schedulers import InducedMetricLR, LandscapeLR, RiverLR

from ..workloads.workload import Batch
from .policy import Policy, Setting, level, ramp, warmup


class Told(Policy):
    """Step a scheduler after the warmup of the constant arm, and count what it decided.

    Args:
        setting: What to train.
        make: Makes the scheduler.
        changes: Options of it.
    """

    scheduler: LandscapeLR

    def __init__(
        self, setting: Setting, make: Callable[..., LandscapeLR], changes: Mapping[str, Any] | None = None
    ) -> None:
        optimizer = setting.base()
        inner = ramp(optimizer, warmup(setting.budget), level)
        super().__init__(optimizer, make(optimizer, inner=inner, **dict(changes or {})))
        self._setting = setting

    def report(self) -> dict[str, Any]:
        """Count what the scheduler decided."""
        return {"decisions": dict(Counter(decision.reason for decision in self.scheduler.history))}


class River(Told):
    """Train with RiverLR on the losses of the batch's examples.

    Args:
        setting: What to train.
        changes: Options of RiverLR.
    """

    def __init__(self, setting: Setting, changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(setting, RiverLR, changes)
        self._losses = torch.empty(0)

    def backward(self, batch: Batch, loss: Callable[[], Tensor]) -> Tensor:
        """Compute one loss per example, and the gradient of their mean.

        Args:
            batch: The batch to train on.
            loss: Not needed.

        Returns:
            The mean.
        """
        losses = self._setting.examples(self._setting.model(batch[0]), batch[1])
        self.optimizer.zero_grad()
        torch.autograd.backward(losses.mean())
        self._losses = losses.detach()
        return self._losses.mean()

    def after(self, batch: Batch, loss: float) -> None:
        """Give the losses to the scheduler.

        Args:
            batch: Not needed.
            loss: Not needed.
        """
        assert isinstance(self.scheduler, RiverLR)
        self.scheduler.observe(self._losses)
        self.scheduler.step()


class Induced(Told):
    """Train with InducedMetricLR, which reads gradients just before each step.

    Args:
        setting: What to train.
        changes: Options of InducedMetricLR.
    """

    def __init__(self, setting: Setting, changes: Mapping[str, Any] | None = None) -> None:
        super().__init__(setting, InducedMetricLR, changes)

    def step(self, loss: float) -> None:
        """Tell the loss, and take the optimizer's step.

        Args:
            loss: Of the batch, before the step.
        """
        assert isinstance(self.scheduler, InducedMetricLR)
        self.scheduler.use_loss(loss)
        self.optimizer.step()
