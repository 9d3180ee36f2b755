"""How the paper trains, and what is compared: nothing is tuned, and all training images are used.

Source: Peng, "TopoAdamW" (2026 draft), section 4.1 and Table 1; its code (topoadamw 0.1.0) for what the text leaves
open: an epoch ends with a smaller batch, and cosine is stepped once an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from lrscape.schedulers import TopoCNNLR, TopoLR

from ..configuration import Configuration
from ..workloads.cifar import BATCH, load, training_images, workload
from ..workloads.workload import Workload, by_epoch

EPOCHS = {10: 50, 100: 100}  # by the number of classes
RATES = {10: 1e-3, 100: 5e-4}
# TopoLR's published preset spends 25 forward passes every 50 steps, and a backward pass costs about two forward passes
MATCHED = 1 + 25 / 50 / 3

Make = Callable[[Optimizer, nn.Module, int, int], LRScheduler]


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        title: For the report.
        make: Makes the scheduler from the optimizer, the model, the seed and the epochs of the run; None keeps the
            rate.
        length: Times the others' epochs.
        part: A probe sees one in so many examples of the batch just used.
    """

    title: str
    make: Make | None = None
    length: float = 1.0
    part: int = 1

    def epochs(self, epochs: int) -> int:
        """Give this arm's epochs, from those of the others."""
        return round(self.length * epochs)


def cosine(optimizer: Optimizer, _model: nn.Module, _seed: int, epochs: int) -> LRScheduler:
    """Follow half a cosine to zero."""
    return CosineAnnealingLR(optimizer, T_max=epochs)


def step_decay(optimizer: Optimizer, _model: nn.Module, _seed: int, epochs: int) -> LRScheduler:
    """Divide the rate by ten after a half and after three quarters of the epochs."""
    return MultiStepLR(optimizer, [math.ceil(epochs / 2), math.ceil(3 * epochs / 4)], gamma=0.1)


def probing(
    kind: type[TopoLR | TopoCNNLR], preset: str, optimizer: Optimizer, model: nn.Module, seed: int, _epochs: int
) -> LRScheduler:
    """Measure the landscape, with the preset's defaults."""
    return kind(optimizer, model, preset="published" if preset == "published" else "corrected", seed=seed)


ARMS = {
    "constant": Arm("AdamW, constant"),
    "cosine": Arm("AdamW, cosine", cosine),
    "step": Arm("AdamW, step decay, TopoLR's cost as steps", step_decay, MATCHED),
    "topo-published": Arm("TopoLR, published", partial(probing, TopoLR, "published")),
    "topo": Arm("TopoLR, corrected", partial(probing, TopoLR, "corrected")),
    "topocnn-published": Arm("TopoCNNLR, published", partial(probing, TopoCNNLR, "published")),
    "topocnn": Arm("TopoCNNLR, corrected", partial(probing, TopoCNNLR, "corrected"), part=4),
}


@dataclass(frozen=True)
class Source:
    """Where the images are, and how many of them are used.

    Attributes:
        data: The folder.
        device: Where to train.
        limit: Only the first so many training images, and as many test images; None for all.
    """

    data: Path
    device: str = "cpu"
    limit: int | None = None

    def workload(self, classes: int) -> Workload:
        """Describe one data set, all of whose training images are trained on.

        Args:
            classes: 10 or 100.

        Returns:
            The workload; a limit is part of its name.
        """
        made = workload(self.data, classes, self.device)
        return replace(
            made,
            name=made.name if self.limit is None else f"{made.name}-first-{self.limit}",
            data=lambda _seed: load(self.data, classes, self.device, 0.0, self.limit, by_epoch),
        )

    def table(self, classes: int, epochs: int | None, seeds: int, arms: Sequence[str]) -> Table:
        """Plan the runs of one data set, which takes counting its images.

        Args:
            classes: 10 or 100.
            epochs: Of the runs; None for the paper's.
            seeds: How many.
            arms: Names.

        Returns:
            The plan.
        """
        images = training_images(self.data, classes)
        images = images if self.limit is None else min(images, self.limit)
        epochs = EPOCHS[classes] if epochs is None else epochs
        return Table(classes, self.workload(classes).name, images, epochs, tuple(range(seeds)), tuple(arms))


@dataclass(frozen=True)
class Table:
    """The runs of one data set.

    Attributes:
        classes: 10 or 100.
        workload: Its name in the records.
        images: For training.
        epochs: Of all arms but those that get more.
        seeds: Of the runs.
        arms: Names.
    """

    classes: int
    workload: str
    images: int
    epochs: int
    seeds: tuple[int, ...]
    arms: tuple[str, ...]

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return -(-self.images // BATCH)

    def configuration(self, arm: str, seed: int) -> Configuration:
        """Give the configuration of a run.

        Args:
            arm: Name.
            seed: Of weights, order and probes.

        Returns:
            It.
        """
        share = ARMS[arm].epochs(self.epochs) / self.epochs
        steps = self.epochs * self.batches
        return Configuration(self.workload, arm, RATES[self.classes], seed, steps, share, BATCH)

    def configurations(self) -> list[Configuration]:
        """List all runs, seed by seed, so that what is there early can be compared."""
        return [self.configuration(arm, seed) for seed in self.seeds for arm in self.arms]
