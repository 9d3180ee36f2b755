"""One run, read after every epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lrscape.schedulers import LandscapeLR

from ..configuration import Configuration
from ..records import Record
from ..training import Clock, measure, short, versions
from ..workloads.workload import Batch, Workload
from .protocol import ARMS, Source, Table


def run(configuration: Configuration, source: Source, tables: Mapping[str, Table]) -> Record:
    """Train on one of the data sets.

    Args:
        configuration: What to run.
        source: Where the images are.
        tables: By name of the workload.

    Returns:
        What the line in the results says.
    """
    table = tables[configuration.workload]
    device = torch.device(source.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else source.device
    return {**train(configuration, source.workload(table.classes), table.batches), "device": name}


class Loop:
    """A model, AdamW, and an arm's scheduler if it has one.

    Args:
        configuration: Its kind is the arm's name.
        workload: Gives model, loss and weight decay.
        epochs: Of the run.
    """

    def __init__(self, configuration: Configuration, workload: Workload, epochs: int) -> None:
        torch.manual_seed(configuration.seed)
        self.model: nn.Module = workload.model().to(workload.device)
        self.clock, self._workload, self._arm = Clock(), workload, ARMS[configuration.kind]
        rate = 1.0 if configuration.rate is None else configuration.rate
        with self.clock.running():
            self._optimizer = AdamW(self.model.parameters(), lr=rate, weight_decay=workload.weight_decay)
            make = self._arm.make
            with self.clock.running("arm_"):
                self.scheduler = None if make is None else make(self._optimizer, self.model, configuration.seed, epochs)

    def epoch(self, batches: Iterator[Batch]) -> tuple[list[float], float]:
        """Train for an epoch, or until a loss is not finite.

        Args:
            batches: Of this epoch.

        Returns:
            The losses, and the rate of the last step.
        """
        losses: list[float] = []
        rate = math.nan
        while not losses or math.isfinite(losses[-1]):
            with self.clock.running():
                batch = next(batches, None)
                if batch is None:
                    break
                loss = self._loss(batch)
                self._optimizer.zero_grad()
                torch.autograd.backward(loss)
                self._optimizer.step()
                losses.append(float(loss.detach()))
                rate = float(self._optimizer.param_groups[0]["lr"])
                with self.clock.running("arm_"):
                    self._probe(batch)
        with self.clock.running(), self.clock.running("arm_"):
            if self.scheduler is not None and not isinstance(self.scheduler, LandscapeLR):
                self.scheduler.step()
        return losses, rate

    def _probe(self, batch: Batch) -> None:
        if isinstance(self.scheduler, LandscapeLR):
            size = -(-len(batch[0]) // self._arm.part)
            self.scheduler.probe(partial(self._loss, (batch[0][:size], batch[1][:size])))
            self.scheduler.step()

    def _loss(self, batch: Batch) -> Tensor:
        return self._workload.loss(self.model(batch[0]), batch[1])


def train(configuration: Configuration, workload: Workload, batches: int) -> Record:
    """Train, and read the test data after every epoch.

    Args:
        configuration: Its kind is the arm's name; its length must be whole epochs.
        workload: Gives epochs that end where the data do.
        batches: Of an epoch.

    Returns:
        The record. Curves have a value for each epoch: test accuracy (share) and loss, the mean loss of the training
        batches, and the rate of the epoch's last step. A run whose loss stops being finite ends with that epoch.
    """
    data = workload.data(configuration.seed)
    epochs = configuration.length // batches
    loop = Loop(configuration, workload, epochs)
    stream = data.batches(configuration.batch, torch.Generator().manual_seed(configuration.seed))
    curves: dict[str, list[float | None]] = {"accuracy": [], "loss": [], "training_loss": [], "rate": []}
    steps, diverged = 0, False
    while len(curves["rate"]) < epochs and not diverged:
        losses, rate = loop.epoch(islice(stream, batches))
        diverged = not math.isfinite(losses[-1])
        steps += len(losses)
        for name, value in measure(loop.model, workload, data.test).items():
            curves[name].append(value)
        curves["training_loss"].append(None if diverged else short(sum(losses) / len(losses)))
        curves["rate"].append(short(rate))
    probed = loop.scheduler if isinstance(loop.scheduler, LandscapeLR) else None
    return {
        **asdict(configuration),
        "finished": True,
        "diverged": diverged,
        "steps_done": steps,
        "curves": curves,
        "decisions": {} if probed is None else dict(Counter(decision.reason for decision in probed.history)),
        **loop.clock.seconds,
        "parameters": sum(parameter.numel() for parameter in loop.model.parameters()),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "date": date.today().isoformat(),
    }
