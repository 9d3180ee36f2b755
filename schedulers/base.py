"""The contract that all landscape-driven schedulers share."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .checks import Bound, OnError, check_on_error
from .factored import FactoredLR
from .history import Decision, History
from .immediate import write_now
from .probed_batch import on_batch
from .rates import read_rate
from .standpoint import check_standpoint

BRAKE = 0.8  # factor on a measurement that is not finite, and of the divergence brake of TopoAdamW
KEPT_DECISIONS = 100  # in state_dict


def has_begun(scheduler: LRScheduler) -> bool:
    """Tell whether a scheduler's turn has come; not before its milestone in a SequentialLR.

    SequentialLR takes back the step of each constructor, which leaves epochs below zero, also in what is inside.

    Args:
        scheduler: Any torch scheduler.

    Returns:
        Whether it sets the rates, or has done so before.

    Example:
        >>> import torch
        >>> from torch.optim.lr_scheduler import ConstantLR, SequentialLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> parts = [ConstantLR(optimizer), ConstantLR(optimizer)]
        >>> chain = SequentialLR(optimizer, parts, milestones=[5])
        >>> [has_begun(part) for part in parts]
        [True, False]
    """
    parts = getattr(scheduler, "_schedulers", None)
    return any(has_begun(part) for part in parts) if parts else scheduler.last_epoch >= 0


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
        on_error: What :meth:`probe` does with an exception, an exhausted memory say: "raise" it, or "skip" this probe,
            see :meth:`skip`.
        last_epoch: As in torch.

    Raises:
        TypeError: If ``inner`` is not a scheduler that can be composed.
        ValueError: If a number is out of range or ``inner`` belongs to another optimizer.
    """

    _not_saved = FactoredLR._not_saved | {"history"}

    # Where probe() belongs if nobody says otherwise: at the start of an iteration, before the forward pass and with the
    # batch just drawn, or after optimizer.step() with the batch just used.
    probes_first: ClassVar[bool] = False

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
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        for name, value, least in (("interval", interval, 1), ("warmup", warmup, 0), ("history_size", history_size, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        check_on_error(on_error)
        self.interval = interval
        self.warmup = warmup
        self.history = History(history_size)
        self.history_size = history_size
        self.on_error: OnError = on_error
        self._asked = -1
        self._begun = 0  # optimizer steps when its turn in a SequentialLR came
        self._warned = False
        self._skipped = 0
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

    def awaits_probe(self) -> bool:
        """Tell whether :meth:`probe` would measure now, which is after the warmup, every ``interval`` optimizer steps.

        Asking changes nothing. A subclass with times of its own overrides this, not :meth:`due`.

        Returns:
            Whether it is time, and nobody has taken the turn since the latest optimizer step.
        """
        return self._steps != self._asked and self._steps > self.warmup and self._steps % self.interval == 0

    def due(self) -> bool:
        """Tell whether this is the time to measure, see :meth:`awaits_probe`, and take the turn if it is.

        Optimizer steps are counted by a hook, so accumulated gradients, steps that GradScaler skips and repeated
        calls of ``step()`` do not matter.

        Returns:
            True at most once per optimizer step.
        """
        if not self.awaits_probe():
            return False
        self._asked = self._steps
        return True

    def probe(self, closure: Callable[..., Tensor], batch: Any = None, *, subset: int | None = None) -> Decision | None:
        """Measure and decide, if it is time.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else: no zero_grad, no backward.
            batch: Given one, the closure is called with it, or with a part of it; else without arguments.
            subset: How many examples all ranks together probe on. Each rank takes its share of its own batch, so that
                a probe costs less the more ranks there are.

        Returns:
            The decision, or None if no measurement was due.

        Raises:
            ValueError: If a schedule-free optimizer stands at its average, or there is a subset of no batch.
        """
        check_standpoint(self.optimizer)
        loss = on_batch(closure, batch, subset)
        if not self.due():
            return None
        try:
            return self.observe(self.measure(loss))
        except Exception as error:  # the user's closure may raise anything
            return self.skip(error)

    def skip(self, error: Exception) -> Decision:
        """Go on without a measurement that failed, if ``on_error="skip"``; else raise the error.

        Factors, rates and everything learned so far stay; the history says "skipped", and the first time there is a
        warning with the error.

        Args:
            error: What was raised.

        Returns:
            The record that was added to ``history``, with no measurement.
        """
        if self.on_error == "raise":
            raise error
        self._skipped += 1
        if self._skipped == 1:
            told = str(error).strip().split("\n")[0]
            warnings.warn(
                f"{type(self).__name__} could not measure at step {self._steps} ({type(error).__name__}: {told}) and "
                "skips this probe; later ones are noted in the history only",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._record({}, "skipped")

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
        return self._record(asdict(measurement), reason)

    def _record(self, numbers: dict[str, float], reason: str) -> Decision:
        factors = self._current_factors()
        rates = [float(rate) for rate in self._rates.product(self._rates.current_plain(), factors)]
        decision = Decision(self._steps, numbers, factors, reason, rates)
        self.history.append(decision)
        return decision

    # In a SequentialLR

    def _initial_step(self) -> None:
        anew = self._set_up
        if anew:  # SequentialLR has put the initial rates back, which do not hold our factor
            plain = [read_rate(group) for group in self.optimizer.param_groups]
            self._rates.remember(plain, [1.0] * len(plain))
        super()._initial_step()
        if anew:
            write_now(self)

    def _update_lr(self, epoch: int | None = None) -> None:
        if self._steps > self._begun and not has_begun(self):
            self._begin()
        super()._update_lr(epoch)

    def _begin(self) -> None:
        """Begin where others have set the rates before; what grows by itself over time, grows from here on."""
        self._begun = self._steps

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
