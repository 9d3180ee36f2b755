"""What an arm does around each training step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lrscape.schedulers import layer_param_groups

from ..averages import Average
from ..configuration import Configuration
from ..workloads.workload import Batch, Workload

# Leaves what is to be descended in ``.grad`` and returns the plain loss, given a batch and what computes that loss.
Descent = Callable[[Batch, Callable[[], Tensor]], Tensor]


@dataclass(frozen=True)
class Setting:
    """What a policy is made from.

    Attributes:
        model: To train.
        rate: Learning rate; 1 for what needs none.
        steps: Of this run.
        budget: Of the workload; the same for runs of all horizons.
        seed: Of the run.
        optimizer: Family of the base optimizer.
        weight_decay: Of it.
        monitor: Computes the loss on a part of the validation data.
        batches: Gives training batches apart from the run's own, e.g. to re-estimate BatchNorm's statistics.
        loss: Of the model on a batch.
        examples: Of an output and a target, one loss per example; their mean is the loss.
        classes: Of an output and a target, what is a classification in them: logits (N, C) and labels (N,).
        tasks: Of an output and a target, one loss per task; None where there is only one.
    """

    model: nn.Module
    rate: float
    steps: int
    budget: int
    seed: int
    optimizer: Literal["adamw", "sgd"]
    weight_decay: float
    monitor: Callable[[], float]
    batches: Callable[[int], list[Batch]]
    loss: Callable[[nn.Module, Batch], Tensor]
    examples: Callable[[Tensor, Tensor], Tensor]
    classes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    tasks: Callable[[Tensor, Tensor], list[Tensor]] | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        configuration: Configuration,
        workload: Workload,
        monitor: Callable[[], float],
        batches: Callable[[int], list[Batch]],
    ) -> Setting:
        """Take what a configuration and its workload say.

        Args:
            model: To train.
            configuration: What to run.
            workload: The one that it names.
            monitor: See the attributes.
            batches: Likewise.

        Returns:
            The setting.
        """
        return cls(
            model=model,
            rate=1.0 if configuration.rate is None else configuration.rate,
            steps=configuration.length,
            budget=configuration.steps,
            seed=configuration.seed,
            optimizer=workload.optimizer,
            weight_decay=workload.weight_decay,
            monitor=monitor,
            batches=batches,
            loss=lambda module, batch: workload.loss(module(batch[0]), batch[1]),
            examples=workload.examples,
            classes=workload.classes,
            tasks=workload.tasks,
        )

    def closure(self, batch: Batch) -> Callable[[], Tensor]:
        """Give what computes the loss on a batch."""
        return lambda: self.loss(self.model, batch)

    def base(self, rate: float | None = None, layers: bool = False) -> Optimizer:
        """Make the base optimizer.

        Args:
            rate: Learning rate; by default the setting's.
            layers: Whether each layer is a parameter group of its own.

        Returns:
            AdamW, or SGD with momentum .9.
        """
        lr = self.rate if rate is None else rate
        parameters = layer_param_groups(self.model) if layers else self.model.parameters()
        if self.optimizer == "adamw":
            return AdamW(parameters, lr=lr, weight_decay=self.weight_decay)
        return SGD(parameters, lr=lr, momentum=0.9, weight_decay=self.weight_decay)


class Policy:
    """Step a torch scheduler, if any, and keep a running average, if any.

    Args:
        optimizer: That takes the steps.
        scheduler: Stepped after it.
        average: Updated after that.
        descent: Computes gradients; by default those of the loss.
    """

    testing = False  # True while a loss that is not finite is part of the method, not the end of the run

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None = None,
        average: Average | None = None,
        descent: Descent | None = None,
    ) -> None:
        self.optimizer, self.scheduler, self.average = optimizer, scheduler, average
        self.descent = descent

    def before(self, batch: Batch) -> None:
        """Act on the batch just drawn, before the training step."""

    def backward(self, batch: Batch, loss: Callable[[], Tensor]) -> Tensor:
        """Leave in ``.grad`` what the step descends.

        Args:
            batch: The batch to train on.
            loss: Computes its loss.

        Returns:
            The loss.
        """
        if self.descent is not None:
            self.optimizer.zero_grad()
            return self.descent(batch, loss).detach()
        found = loss()
        self.optimizer.zero_grad()
        torch.autograd.backward(found)
        return found.detach()

    def step(self, loss: float) -> None:
        """Take the optimizer's step.

        Args:
            loss: Of the batch, before the step.
        """
        self.optimizer.step()

    def after(self, batch: Batch, loss: float) -> None:
        """Act after the optimizer's step.

        Args:
            batch: The batch just used.
            loss: Its loss before the step.
        """
        if self.scheduler is not None:
            self.scheduler.step()
        if self.average is not None:
            self.average.update()

    def plain(self) -> AbstractContextManager[Any]:
        """Give the context in which the model is what the optimizer calls its weights."""
        return nullcontext()

    def averaged(self) -> AbstractContextManager[Any] | None:
        """Give the context in which the model is its average, or None if there is no average."""
        return None if self.average is None else self.average.applied()

    def rate(self) -> float:
        """Give the present learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def report(self) -> dict[str, Any]:
        """Give what else should be recorded at the end."""
        return {}


def ramp(optimizer: Optimizer, warmup: int, shape: Callable[[int], float]) -> LambdaLR:
    """Make a schedule with a linear warmup.

    Args:
        optimizer: Its rates are peaks.
        warmup: Steps of the warmup.
        shape: Factor on the peak after t steps.

    Returns:
        The scheduler.
    """
    return LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / (warmup + 1)) * shape(t))


def warmup(steps: int) -> int:
    """Give the length of the warmup: a twentieth."""
    return steps // 20


def level(_t: int) -> float:
    """Keep the peak."""
    return 1.0
