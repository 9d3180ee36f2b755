"""The arms of the curvature paper's experiments: what sets the rate, and with which optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from ..schedulers import CurvatureWarmup, HomotopyLR
from .study.workloads.workload import Workload

WARMUP = 0.1  # share of the steps


@dataclass(frozen=True)
class Arm:
    """How the rate is set.

    Attributes:
        title: For tables and figures.
        make: Constructs the scheduler from optimizer, model and steps.
        ours: Whether it measures, and so at all multiples of the tuned rate; the others run there too, for comparison.
    """

    title: str
    make: Callable[[Optimizer, nn.Module, int], LRScheduler]
    ours: bool = False


def level(_: int) -> float:
    """Give the factor of a constant rate."""
    return 1.0


def constant(optimizer: Optimizer, _model: nn.Module, _steps: int) -> LRScheduler:
    """Keep the rate."""
    return LambdaLR(optimizer, level)


def drops(optimizer: Optimizer, _model: nn.Module, steps: int) -> LRScheduler:
    """Divide the rate by ten after half and after three quarters of the steps."""
    return MultiStepLR(optimizer, [steps // 2, 3 * steps // 4])


def cosine(optimizer: Optimizer, _model: nn.Module, steps: int) -> LRScheduler:
    """Let the rate fall to zero along a cosine."""
    return CosineAnnealingLR(optimizer, steps)


def warmup_cosine(optimizer: Optimizer, _model: nn.Module, steps: int) -> LRScheduler:
    """Do so after a linear warmup."""
    ramp = round(WARMUP * steps)
    parts: list[LRScheduler] = [
        LinearLR(optimizer, 1 / ramp, total_iters=ramp),
        CosineAnnealingLR(optimizer, steps - ramp),
    ]
    return SequentialLR(optimizer, parts, [ramp])


def homotopy(optimizer: Optimizer, model: nn.Module, _steps: int) -> LRScheduler:
    """Stay below the measured edge, with the defaults."""
    return HomotopyLR(optimizer, model)


def near_edge(optimizer: Optimizer, model: nn.Module, _steps: int) -> LRScheduler:
    """Stay below nine tenths of the measured edge, where theory would."""
    return HomotopyLR(optimizer, model, margin=0.9)


def homotopy_cosine(optimizer: Optimizer, model: nn.Module, steps: int) -> LRScheduler:
    """Take the smaller of a cosine and the measured edge."""
    return HomotopyLR(optimizer, model, inner=cosine(optimizer, model, steps))


def kappa(optimizer: Optimizer, model: nn.Module, _steps: int) -> LRScheduler:
    """Follow the published rule with its defaults."""
    return HomotopyLR(optimizer, model, criterion="kappa")


def curvature_warmup(optimizer: Optimizer, model: nn.Module, steps: int) -> LRScheduler:
    """Climb below the measured edge from a hundredth, then stay at the rate; growth fits a tenth of the steps."""
    return CurvatureWarmup(optimizer, model, growth=100 ** (1 / (WARMUP * steps)))


ARMS = {
    "constant": Arm("constant", constant),
    "adam": Arm("Adam, tuned", constant),
    "step": Arm("step decay", drops),
    "cosine": Arm("cosine", cosine),
    "warmup cosine": Arm("warmup and cosine", warmup_cosine),
    "homotopy": Arm("HomotopyLR", homotopy, ours=True),
    "near edge": Arm("HomotopyLR, margin .9", near_edge, ours=True),
    "homotopy cosine": Arm("HomotopyLR over a cosine", homotopy_cosine, ours=True),
    "curvature warmup": Arm("CurvatureWarmup", curvature_warmup, ours=True),
    "kappa": Arm("HomotopyLR, published κ", kappa, ours=True),
}


def optimizer_for(arm: str, workload: Workload, model: nn.Module, rate: float) -> Optimizer:
    """Make the workload's optimizer: AdamW, SGD with momentum .9, or for the quadratic plain gradient descent.

    Args:
        arm: "adam" takes Adam whatever the workload says.
        workload: Says which family.
        model: Whose parameters.
        rate: Learning rate.

    Returns:
        The optimizer.
    """
    if arm == "adam":
        return Adam(model.parameters(), lr=rate)
    if workload.optimizer == "adamw":
        return AdamW(model.parameters(), lr=rate, weight_decay=workload.weight_decay)
    return SGD(model.parameters(), lr=rate, momentum=0.0 if workload.name == "quadratic" else 0.9)
