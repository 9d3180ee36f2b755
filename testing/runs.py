"""Small training runs on which the contract is checked."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedulers

from ..schedulers import LandscapeLR

RATE = 0.05


class Factory(Protocol):
    """Constructs the scheduler under test."""

    def __call__(self, optimizer: Optimizer, model: nn.Module, **options: Any) -> LandscapeLR:
        """Construct it; options are those of ``LandscapeLR``."""
        ...


@dataclass
class Run:
    """A small training run: a regression on fixed data.

    Attributes:
        model: Two linear layers.
        optimizer: SGD or AdamW, with one or two groups, rates as floats or tensors.
        scheduler: The one under test.
    """

    model: nn.Sequential
    optimizer: Optimizer
    scheduler: LandscapeLR

    def closure(self) -> Tensor:
        """Compute the loss on fixed data.

        Returns:
            A 0-d tensor.
        """
        x = torch.linspace(-1, 1, 48).reshape(16, 3)
        loss: Tensor = ((self.model(x) - x.sin().sum(1, keepdim=True)) ** 2).mean()
        return loss

    def train(self, steps: int) -> list[list[float]]:
        """Train as the documentation says.

        Args:
            steps: Optimizer steps.

        Returns:
            Rates of all groups after each step.
        """
        rates = []
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.update()
            self.scheduler.probe(self.closure)
            self.scheduler.step()
            rates.append(self.rates())
        return rates

    def update(self) -> None:
        """Run one backward pass and one optimizer step."""
        torch.autograd.backward(self.closure())
        self.optimizer.step()

    def rates(self) -> list[float]:
        """Read the learning rates.

        Returns:
            One float per group.
        """
        return [float(group["lr"]) for group in self.optimizer.param_groups]


@dataclass(frozen=True)
class Case:
    """One kind of optimizer.

    Attributes:
        kind: "sgd" or "adamw".
        groups: 1 or 2.
        tensor: Whether learning rates are tensors.
    """

    kind: str
    groups: int
    tensor: bool

    def start(self, factory: Factory, make_inner: Callable[[Optimizer], Any] | None = None, **options: Any) -> Run:
        """Set up a run, the same at every call.

        Args:
            factory: Constructs the scheduler.
            make_inner: Constructs an inner scheduler.
            **options: Passed to the factory.

        Returns:
            The run.
        """
        stream = torch.Generator().manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)
        optimizer = self.optimizer(model)
        if make_inner is not None:
            options["inner"] = make_inner(optimizer)
        return Run(model, optimizer, factory(optimizer, model, **{"interval": 2, "warmup": 3, **options}))

    def optimizer(self, model: nn.Sequential) -> Optimizer:
        """Construct the optimizer of this case.

        Args:
            model: Whose parameters it takes.

        Returns:
            The optimizer.
        """
        rates = [torch.tensor(RATE), torch.tensor(RATE / 5)] if self.tensor else [RATE, RATE / 5]
        parameters: list[dict[str, Any]] = [{"params": [*model[0].parameters()], "lr": rates[0]}]
        last = [*model[2].parameters()]
        if self.groups == 2:
            parameters.append({"params": last, "lr": rates[1]})
        else:
            parameters[0]["params"] += last
        if self.kind == "sgd":
            return torch.optim.SGD(parameters, lr=rates[0], momentum=0.9)
        return torch.optim.AdamW(parameters, lr=rates[0], foreach=False)  # foreach refuses tensor rates uncompiled


CASES = [Case(kind, groups, tensor) for kind in ("sgd", "adamw") for groups in (1, 2) for tensor in (False, True)]


def close(a: list[float], b: list[float], tensor: bool) -> bool:
    """Compare rates to the precision they have.

    Args:
        a: Rates.
        b: Others.
        tensor: Whether they are float32 tensors.

    Returns:
        Whether all agree to 1e-12, or 1e-5 for tensors.
    """
    tolerance = 1e-5 if tensor else 1e-12
    return all(math.isclose(x, y, rel_tol=tolerance, abs_tol=1e-12) for x, y in zip(a, b, strict=True))


def round_trip(value: Any) -> Any:
    """Save a value and load it with ``weights_only=True``.

    Args:
        value: A state.

    Returns:
        What came back.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _decayed(epoch: int) -> float:
    return 0.97**epoch


INNER: dict[str, Callable[[Optimizer], Any]] = {
    "LambdaLR": lambda optimizer: torch_schedulers.LambdaLR(optimizer, _decayed),
    "ExponentialLR": lambda optimizer: torch_schedulers.ExponentialLR(optimizer, 0.95),
    "CosineAnnealingLR": lambda optimizer: torch_schedulers.CosineAnnealingLR(optimizer, 40),
    "OneCycleLR": lambda optimizer: torch_schedulers.OneCycleLR(optimizer, 2 * RATE, total_steps=40),
    "SequentialLR": lambda optimizer: torch_schedulers.SequentialLR(
        optimizer,
        [torch_schedulers.LinearLR(optimizer, 0.1, total_iters=5), torch_schedulers.CosineAnnealingLR(optimizer, 30)],
        milestones=[5],
    ),
}
