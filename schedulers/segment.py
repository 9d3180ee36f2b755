"""The height of the iterate above its running average: the loss at both ends of a segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..landscape.closure import Closure, ClosureTask
from ..landscape.harmless import harmless
from ..landscape.modes import BatchNorm
from .averages import RunningAverage


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

    Args:
        average: Of the model's weights.
        closure: Returns the loss as a 0-d tensor and does nothing else.
        batch_norm: "batch" normalises both ends by the batch, so that neither is favoured by its running statistics.

    Returns:
        The measurement.

    Raises:
        TypeError: If the closure returns no tensor.
        ValueError: If the loss has dimensions, or the closure runs a backward pass.
    """
    task = ClosureTask(closure)
    backup = [parameter.detach().clone() for parameter in average.parameters]
    with harmless(average.model, moved=average.parameters, backup=backup, batch_norm=batch_norm) as (interrupt, rewind):
        here, _ = task.values(average.model, None)
        interrupt.check()
        rewind()
        average.write_parameters()
        there, _ = task.values(average.model, None)
        loss, average_loss = torch.cat([here, there]).tolist()
    return ValleyMeasurement(loss, average_loss, loss - average_loss)
