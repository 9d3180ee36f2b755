"""What a scheduler needs that averages the weights: the average, its probe, and what the user takes away."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from ..landscape.modes import BatchNorm, check_batch_norm
from ..landscape.parameters import ParameterChoice, repeatable
from .averages import RunningAverage
from .base import LandscapeLR, has_begun
from .history import Decision
from .ownership import warn_of_strangers
from .segment import ValleyMeasurement, measure_segment


class AveragedLR(LandscapeLR):
    """Base of schedulers that keep a running average of the weights and measure the height of the iterate above it.

    A subclass says when the average takes an iterate in, and with what weight.

    Args:
        optimizer: Any torch optimizer.
        model: The model that it trains.
        parameters: Restricts what is averaged; see :func:`lrscape.landscape.random_directions`.
        batch_norm: BatchNorm policy of probes.
        **options: Those of :class:`LandscapeLR`.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If an option is out of range, or nothing can be averaged.
    """

    _not_saved = LandscapeLR._not_saved | {"_average", "_start_weights", "_parameters"}

    probes_first: ClassVar[bool] = True  # on a batch already trained on, the height is biased towards growing

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        parameters: ParameterChoice,
        batch_norm: BatchNorm,
        **options: Any,
    ) -> None:
        check_batch_norm(batch_norm)
        self.model = model
        self.batch_norm = batch_norm
        self._parameters = repeatable(parameters)
        self._average = RunningAverage(model, self._parameters)
        self._start_weights: RunningAverage | None = None  # for a subclass that wants to go back to them
        warn_of_strangers(optimizer, model)
        super().__init__(optimizer, **options)

    def measure(self, closure: Callable[[], Tensor]) -> ValleyMeasurement:
        """Probe the segment between the iterate and its average.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            The measurement.
        """
        return measure_segment(self._average, closure, self.batch_norm)

    def observe(self, measurement: ValleyMeasurement) -> Decision:
        """Update the factor by a measurement, and record why.

        An average whose loss is not finite, as after weights that were not, starts anew from finite ones.

        Args:
            measurement: What :meth:`measure` found.

        Returns:
            The record that was added to ``history``.
        """
        if math.isfinite(measurement.loss) and not math.isfinite(measurement.average_loss):
            self._average.update(1.0)
        return super().observe(measurement)

    def take_in(self, weight: float) -> None:
        """Take the present weights into the average.

        Args:
            weight: Theirs.
        """
        self._average.update(weight)
        if self._start_weights is not None:
            self._start_weights.admit()

    def _begin(self) -> None:
        super()._begin()
        for average in (self._average, self._start_weights):
            if average is not None:
                average.update(1.0)

    def averaged(self) -> AbstractContextManager[nn.Module]:
        """Let the model be its average for a while, to evaluate or to save it.

        On leaving, also by an exception, parameters and buffers are bitwise what they were.

        Returns:
            A context that gives the model.
        """
        if not has_begun(self):
            self._average.update(1.0)  # nothing but the present weights yet
        return self._average.applied()

    def averaged_state_dict(self) -> dict[str, Any]:
        """Give the model's state with the averaged weights and statistics.

        Returns:
            A state dict in memory of its own.
        """
        with self.averaged() as model:
            state = model.state_dict()
            return {
                name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in state.items()
            }

    def state_dict(self) -> dict[str, Any]:
        """Give the state, the tensors of the average and of the start weights among it.

        Returns:
            What ``torch.load(weights_only=True)`` accepts.
        """
        start = {} if self._start_weights is None else {"start_weights": self._start_weights.state()}
        return {**super().state_dict(), "average": self._average.state(), **start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; load the model's and the optimizer's as well.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: If it comes from a scheduler of another kind.
        """
        state = dict(state_dict)
        if "average" not in state:
            raise ValueError(
                f"this is not a state of {type(self).__name__}: average missing; pass what its state_dict() returned"
            )
        average, start = state.pop("average"), state.pop("start_weights", None)
        self._check_state(state)
        self._average.restore(average)
        self._start_weights = None if start is None else RunningAverage(self.model, self._parameters)
        if self._start_weights is not None:
            self._start_weights.restore(start)
        super().load_state_dict(state)
