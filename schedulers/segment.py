"""The height of the iterate above its running average: the loss at both ends of a segment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from ..landscape.closure import Closure, ClosureTask
from ..landscape.harmless import harmless
from ..landscape.modes import BatchNorm
from ..landscape.shards import resharded
from .averages import RunningAverage
from .rank_mean import rank_mean


@dataclass(frozen=True, eq=False)
class ValleyMeasurement:
    """What a probe of the segment between the iterate and its average says.

    Attributes:
        loss: L(θ), at the iterate.
        average_loss: L(θ̄), at the average, on the same batch.
        height: L(θ) − L(θ̄); negative while progress dominates, positive when noise does.
    """

    loss: float
    average_loss: float
    height: float


def measure_segment(average: RunningAverage, closure: Closure, batch_norm: BatchNorm = "batch") -> ValleyMeasurement:
    """Measure the loss at the iterate and at its average, leaving no trace: two forward passes, one synchronisation.

    Under torch.distributed every rank measures on a batch of its own, and all get the mean.

    Args:
        average: Of the model's weights.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        batch_norm: "batch" normalises both ends by the batch, so that neither is favoured by its running statistics.

    Returns:
        The measurement.

    Raises:
        TypeError: If the closure returns no tensor.
        ValueError: If the loss has dimensions, or the closure runs a backward pass.
        RuntimeError: If another rank failed.
    """
    loss, average_loss = rank_mean(partial(_ends, average, closure, batch_norm))
    return ValleyMeasurement(loss, average_loss, loss - average_loss)


def _ends(average: RunningAverage, closure: Closure, batch_norm: BatchNorm) -> list[float]:
    task = ClosureTask(closure)
    model = average.model
    with resharded(model):
        moved = average.parameters
        backup = [parameter.detach().clone() for parameter in moved]
        with harmless(model, moved=moved, backup=backup, batch_norm=batch_norm) as (interrupt, rewind):
            here, _ = task.values(model, None)
            interrupt.check()
            rewind()
            average.write_parameters()
            there, _ = task.values(model, None)
            return torch.cat([here, there]).tolist()
