"""Optimizers that need no schedule, or no learning rate, from their authors' packages."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import update_bn

from .policy import Policy, Setting, warmup

RECALIBRATION = 20  # batches


@contextmanager
def recalibrated(model: nn.Module, batches: list[Tensor]) -> Iterator[None]:
    """Re-estimate BatchNorm's statistics for the present weights, and put the old ones back afterwards."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        update_bn(batches, model)
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])


class ScheduleFree(Policy):
    """Train with schedule-free AdamW or SGD (Defazio et al. 2024, arXiv:2405.15682).

    The weights it evaluates are not those it takes gradients at, so BatchNorm's statistics are re-estimated for them,
    as its authors advise.

    Args:
        setting: What to train.
    """

    def __init__(self, setting: Setting) -> None:
        package = importlib.import_module("schedulefree")  # an extra
        options = {"lr": setting.rate, "weight_decay": setting.weight_decay, "warmup_steps": warmup(setting.budget)}
        kind = package.AdamWScheduleFree if setting.optimizer == "adamw" else package.SGDScheduleFree
        self._switch = kind(setting.model.parameters(), **options)
        self._switch.train()
        super().__init__(self._switch)
        self._model, self._setting = setting.model, setting

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        self._switch.eval()
        try:
            with recalibrated(self._model, [batch[0] for batch in self._setting.batches(RECALIBRATION)]):
                yield
        finally:
            self._switch.train()

    def plain(self) -> AbstractContextManager[Any]:
        """Give the context with the weights that the method evaluates."""
        return self._evaluating()


class Prodigy(Policy):
    """Train with Prodigy (Mishchenko and Defazio 2023, arXiv:2306.06101); its learning rate is a factor, 1 by default.

    Args:
        setting: What to train.
        annealed: Let the factor follow a cosine to zero at the horizon, as its authors recommend, or keep it.
    """

    def __init__(self, setting: Setting, annealed: bool = False) -> None:
        kind = importlib.import_module("prodigyopt").Prodigy  # an extra
        with redirect_stdout(io.StringIO()):  # it says which weight decay it uses
            super().__init__(kind(setting.model.parameters(), lr=setting.rate, weight_decay=setting.weight_decay))
        if annealed:
            self.scheduler = CosineAnnealingLR(self.optimizer, setting.steps)

    def rate(self) -> float:
        """Give the factor times the distance estimated."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"] * group["d"])
