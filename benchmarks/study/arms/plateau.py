"""Halve the rate whenever the validation loss stops falling."""

from __future__ import annotations

from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..workloads.workload import Batch
from .policy import Policy, Setting, level, ramp, warmup

LOOKS = 40  # at the validation loss, in the whole budget
PATIENCE = 2


class Plateau(Policy):
    """Watch a part of the validation data with torch's ReduceLROnPlateau, after a warmup.

    Args:
        setting: What to train.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.base())
        self._monitor = setting.monitor
        self._every = max(1, setting.budget // LOOKS)
        self._warmup = warmup(setting.budget)
        self._ramp = ramp(self.optimizer, self._warmup, level)
        self._plateau = ReduceLROnPlateau(self.optimizer, factor=0.5, patience=PATIENCE)
        self._steps = 0

    def after(self, batch: Batch, loss: float) -> None:
        """Warm up, then look every so often.

        Args:
            batch: Not needed.
            loss: Not needed.
        """
        self._steps += 1
        if self._steps <= self._warmup:
            self._ramp.step()
        elif self._steps % self._every == 0:
            self._plateau.step(self._monitor())
