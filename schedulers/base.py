"""The contract that all landscape-driven schedulers share."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .checks import Bound
from .factored import FactoredLR
from .history import Decision, History

BRAKE = 0.8  # factor on a measurement that is not finite, and of the divergence brake of TopoAdamW
KEPT_DECISIONS = 100  # in state_dict


class LandscapeLR(FactoredLR):
    """Base of schedulers that measure the loss landscape and turn what they find into a factor on the learning rate.

    η_i = η_i^plain · f_i, where the plain rate is the optimizer's own, or that of ``inner``, and the factor f_i stays
    within [min_ratio_i, max_ratio_i]. A subclass says what to measure (:meth:`measure`) and what to conclude
    (:meth:`decide`); counting, composing, saving and recording happen here.

    In the loop, :meth:`probe` is called once per iteration with a closure that returns the loss, and ``step()`` as for
    any torch scheduler. ``step()`` never probes.

    Args:
        optimizer: Any torch optimizer; learning rates may be floats or tensors.
        interval: Optimizer steps between probes.
        warmup: Number of optimizer steps before the first probe.
        min_ratio: Lower bound of the factor, one number or one per group.
        max_ratio: Upper bound, likewise.
        inner: Any torch scheduler of the same optimizer, e.g. a warmup or a cosine; it sets the plain rates and is
            advanced by our ``step()``. Do not step it yourself.
        history_size: How many decisions to keep.
        last_epoch: As in torch.

    Raises:
        TypeError: If ``inner`` is not a scheduler that can be composed.
        ValueError: If a number is out of range or ``inner`` belongs to another optimizer.
    """

    _not_saved = FactoredLR._not_saved | {"history"}

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        interval: int = 50,
        warmup: int = 150,
        min_ratio: Bound = 0.05,
        max_ratio: Bound = 1.0,
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        last_epoch: int = -1,
    ) -> None:
        for name, value, least in (("interval", interval, 1), ("warmup", warmup, 0), ("history_size", history_size, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.interval = interval
        self.warmup = warmup
        self.history = History(history_size)
        self.history_size = history_size
        self._asked = -1
        self._warned = False
        super().__init__(optimizer, min_ratio=min_ratio, max_ratio=max_ratio, inner=inner, last_epoch=last_epoch)

    # What a subclass says

    @abstractmethod
    def measure(self, closure: Callable[[], Tensor]) -> Any:
        """Measure the landscape at the current parameters, leaving no trace.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            A frozen dataclass of floats.
        """

    @abstractmethod
    def decide(self, measurement: Any) -> str:
        """Update ``factors`` through :meth:`scale` or :meth:`assign`.

        Args:
            measurement: What :meth:`measure` returned; all its numbers are finite.

        Returns:
            The reason, in a few words.
        """

    def finite(self, measurement: Any) -> bool:
        """Tell whether a measurement can be decided upon.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            Whether all its numbers are finite.
        """
        return all(math.isfinite(value) for value in asdict(measurement).values())

    # What the training loop calls

    def due(self) -> bool:
        """Tell whether this is the time to measure: after the warmup, every ``interval`` optimizer steps.

        Optimizer steps are counted by a hook, so accumulated gradients, steps that GradScaler skips and repeated
        calls of ``step()`` do not matter.

        Returns:
            True at most once per optimizer step.
        """
        if self._steps == self._asked or self._steps <= self.warmup or self._steps % self.interval:
            return False
        self._asked = self._steps
        return True

    def probe(self, closure: Callable[[], Tensor]) -> Decision | None:
        """Measure and decide, if it is time.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else: no zero_grad, no backward.

        Returns:
            The decision, or None if no measurement was due.
        """
        return self.observe(self.measure(closure)) if self.due() else None

    def observe(self, measurement: Any) -> Decision:
        """Update the factor by a measurement, and record why.

        The next ``step()`` applies it. A measurement that is not finite decelerates by .8, warns once, and leaves the
        rest of the state alone.

        Args:
            measurement: A frozen dataclass of floats, as :meth:`measure` returns it.

        Returns:
            The record that was added to ``history``.
        """
        if self.finite(measurement):
            reason = self.decide(measurement)
        else:
            self.scale(BRAKE)
            reason = "non-finite"
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{type(self).__name__} measured a loss that is not finite at step {self._steps} and slows down; "
                    "this is said once",
                    RuntimeWarning,
                    stacklevel=3,
                )
        factors = self._current_factors()
        rates = [float(rate) for rate in self._rates.product(self._rates.current_plain(), factors)]
        decision = Decision(self._steps, asdict(measurement), factors, reason, rates)
        self.history.append(decision)
        return decision

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """Give the state as numbers, strings, lists, dicts and tensors.

        Returns:
            What ``torch.load(weights_only=True)`` accepts, with the latest hundred decisions.
        """
        return {**super().state_dict(), "history": self.history.state(KEPT_DECISIONS)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; load the optimizer's as well.

        Args:
            state_dict: What :meth:`state_dict` gave.
        """
        state = dict(state_dict)
        decisions = state.pop("history", ())
        super().load_state_dict(state)
        self.history.restore(decisions)
