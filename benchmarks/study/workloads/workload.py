"""What a workload is: data in three parts, a model, a loss and a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class Data(NamedTuple):
    """Data of one seed.

    Attributes:
        batches: Gives an endless stream of training batches from a batch size and a generator.
        validation: Batches on which rates are tuned.
        test: Batches on which results are read.
    """

    batches: Callable[[int, torch.Generator], Iterator[Batch]]
    validation: Sequence[Batch]
    test: Sequence[Batch]


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean cross-entropy of logits of any shape that ends in classes."""
    return F.cross_entropy(output.flatten(0, -2), target.flatten())


def one_by_one(output: Tensor, target: Tensor) -> Tensor:
    """Compute the cross-entropies whose mean :func:`cross_entropy` is; of text, one for each character."""
    return F.cross_entropy(output.flatten(0, -2), target.flatten(), reduction="none")


def flat(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Give logits (N, C) and labels (N,), of text one row for each character."""
    return output.flatten(0, -2), target.flatten()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Compute the share of right answers."""
    return (output.argmax(-1) == target).double().mean()


@dataclass(frozen=True)
class Workload:
    """A model to train on data for a number of steps.

    Attributes:
        name: As on the command line and in the results.
        description: For the report.
        data: Gives the data of a seed; the test part is the same for all seeds.
        model: Makes a model from torch's global random state.
        steps: Optimizer steps of the whole budget.
        batch: Examples in a batch.
        centre: Learning rate at which tuning starts; a power of two times 1e-3.
        optimizer: Family of the base optimizer.
        weight_decay: Of the base optimizer.
        loss: Of the model's output and the target.
        accuracy: Likewise.
        examples: Likewise; one loss per example, whose mean is the loss.
        classes: Likewise; logits (N, C) and labels (N,), where a label of -1 says that the row asks for no class.
        tasks: Likewise; one loss per task, whose mean is the loss, of a model whose ``trunk`` they share.
        only: The arms that run on it; by default all that do not need several tasks.
        batches: Other batch sizes to try, with the share of the steps that they get.
        seconds: Of a plain run on one core, roughly; for estimates only.
        developed_on: Whether our own defaults were chosen while looking at it.
        device: Where model and data live.
    """

    name: str
    description: str
    data: Callable[[int], Data]
    model: Callable[[], nn.Module]
    steps: int
    batch: int
    centre: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.01
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    accuracy: Callable[[Tensor, Tensor], Tensor] = accuracy
    examples: Callable[[Tensor, Tensor], Tensor] = one_by_one
    classes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = flat
    tasks: Callable[[Tensor, Tensor], list[Tensor]] | None = None
    only: tuple[str, ...] | None = None
    batches: dict[int, float] = field(default_factory=dict)
    seconds: float = 3.0
    developed_on: bool = False
    device: str = "cpu"


def shuffled(
    x: Tensor,
    y: Tensor,
    size: int,
    stream: torch.Generator,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> Iterator[Batch]:
    """Go through the examples again and again, in a new order each time.

    Args:
        x: Inputs.
        y: Targets.
        size: Of a batch; one that reaches beyond an epoch's end takes the rest from the next.
        stream: Random generator.
        augment: Changes the inputs of a batch.

    Yields:
        Batches.
    """
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(len(y), generator=stream)])
        chosen, waiting = waiting[:size].to(x.device), waiting[size:]
        yield x[chosen] if augment is None else augment(x[chosen], stream), y[chosen]


def by_epoch(
    x: Tensor,
    y: Tensor,
    size: int,
    stream: torch.Generator,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> Iterator[Batch]:
    """Go through the examples likewise, but end every epoch with what is left, as torch's loader does.

    Args:
        x: Inputs.
        y: Targets.
        size: Of a batch, except for an epoch's last.
        stream: Random generator.
        augment: Changes the inputs of a batch.

    Yields:
        Batches.
    """
    while True:
        for chosen in torch.split(torch.randperm(len(y), generator=stream).to(x.device), size):
            yield x[chosen] if augment is None else augment(x[chosen], stream), y[chosen]


def whole(x: Tensor, y: Tensor, size: int = 1000) -> list[Batch]:
    """Cut a held-out part into batches; their sizes weight their losses."""
    return list(zip(torch.split(x, size), torch.split(y, size), strict=True))
