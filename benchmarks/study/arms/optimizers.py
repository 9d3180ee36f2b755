"""Other optimizers, at a constant rate after the warmup of the constant arm."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim import SGD, AdamW, Muon, Optimizer

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD

from .policy import Policy, Setting, level, ramp, warmup


def level_rate(setting: Setting, make: Callable[[Setting], Optimizer]) -> Policy:
    """Train with an optimizer at a constant rate after the warmup.

    Args:
        setting: What to train.
        make: Makes the optimizer.

    Returns:
        The policy.
    """
    optimizer = make(setting)
    return Policy(optimizer, ramp(optimizer, warmup(setting.budget), level))


def momentum(setting: Setting) -> Optimizer:
    """Make SGD with momentum .9; its weight decay is the workload's."""
    return SGD(setting.model.parameters(), lr=setting.rate, momentum=0.9, weight_decay=setting.weight_decay)


def amsgrad(setting: Setting) -> Optimizer:
    """Make AdamW that divides by the largest average so far."""
    return AdamW(setting.model.parameters(), lr=setting.rate, weight_decay=setting.weight_decay, amsgrad=True)


def adamw(setting: Setting) -> Optimizer:
    """Make AdamW, whatever the workload's own."""
    return AdamW(setting.model.parameters(), lr=setting.rate, weight_decay=setting.weight_decay)


class WithLoss(Policy):
    """Tell the optimizer the loss of each step."""

    def step(self, loss: float) -> None:
        """Take the optimizer's step.

        Args:
            loss: Of the batch, before the step.
        """
        self.optimizer.step(loss=loss)  # type: ignore[call-arg]  # of ours


def induced(setting: Setting, kind: type[InducedMetricSGD] | type[InducedMetricRMS]) -> Policy:
    """Train with an induced-metric optimizer at its published defaults."""
    optimizer = kind(setting.model.parameters(), lr=setting.rate, weight_decay=setting.weight_decay)
    scheduler = ramp(optimizer, warmup(setting.budget), level)
    return (WithLoss if kind is InducedMetricLog else Policy)(optimizer, scheduler)


class MuonBeside(Policy):
    """Train matrices between hidden layers with torch's Muon, and everything else with AdamW at the same rate.

    Its steps are scaled to the size of AdamW's, so that one rate serves both (Liu et al. 2025, arXiv:2502.16982).

    Args:
        setting: What to train.
    """

    def __init__(self, setting: Setting) -> None:
        named = list(setting.model.named_parameters())
        hidden = {name for name, parameter in named if parameter.dim() == 2}
        hidden -= {name for name in hidden if name.startswith(("token", "position", "head"))}
        hidden -= {[name for name, parameter in named if parameter.dim() == 2][-1]}  # the head
        chosen = [parameter for name, parameter in named if name in hidden]
        others = [parameter for name, parameter in named if name not in hidden]
        start = warmup(setting.budget)
        decay = setting.weight_decay
        optimizer = Muon(chosen, lr=setting.rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        super().__init__(optimizer, ramp(optimizer, start, level))
        self._beside = AdamW(others, lr=setting.rate, weight_decay=decay)
        self._beside_scheduler = ramp(self._beside, start, level)

    def step(self, loss: float) -> None:
        """Take both steps.

        Args:
            loss: Not needed.
        """
        self.optimizer.step()
        self._beside.step()
        self._beside.zero_grad()
        self._beside_scheduler.step()
