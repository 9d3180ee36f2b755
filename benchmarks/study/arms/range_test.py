"""A plain learning-rate range test, and then the rate it suggests."""

from __future__ import annotations

import copy
import math
from typing import Any

from ..averages import Average, anytime
from ..workloads.workload import Batch
from .policy import Policy, Setting

LOWEST, HIGHEST = 1e-6, 10.0
SHARE = 0.1  # of the budget; these steps are spent, not given
SMOOTHING = 0.9
STOP = 4.0  # times the best loss
BACK = 10.0  # the rate of the lowest loss, divided by this


class RangeTest(Policy):
    """Let the rate grow geometrically, go back to the start, and train at a tenth of the rate with the lowest loss.

    Source: Smith 2015 (arXiv:1506.01186, section 3.3), with the smoothing and the choice that are common today. The
    steps of the test count as part of the run. The anytime average starts after it.

    Args:
        setting: What to train.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.base(LOWEST), average=Average(setting.model, anytime))
        self.testing = True
        self._model = setting.model
        self._start = copy.deepcopy((setting.model.state_dict(), self.optimizer.state_dict()))
        self._length = max(10, round(SHARE * setting.budget))
        self._steps = 0
        self._smoothed = 0.0
        self._best = (math.inf, LOWEST)
        self._found: float | None = None

    def after(self, batch: Batch, loss: float) -> None:
        """Test, or train.

        Args:
            batch: Not needed.
            loss: Of the batch just used.
        """
        if not self.testing:
            super().after(batch, loss)
            return
        self._steps += 1
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * loss
        smoothed = self._smoothed / (1 - SMOOTHING**self._steps)
        if smoothed < self._best[0]:
            self._best = smoothed, self.rate()
        if self._steps == self._length or not smoothed <= STOP * self._best[0]:
            self._finish()
        else:
            self._set(LOWEST * (HIGHEST / LOWEST) ** (self._steps / (self._length - 1)))

    def _finish(self) -> None:
        self.testing = False
        model, optimizer = self._start
        self._model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)
        self._found = self._best[1] / BACK
        self._set(self._found)

    def _set(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def report(self) -> dict[str, Any]:
        """Give the rate found."""
        return {"rate_found": self._found}
