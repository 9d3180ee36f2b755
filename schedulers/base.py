"""The contract that all landscape-driven schedulers share."""

from __future__ import annotations

import math
import warnings
import weakref
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar, cast

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .checks import Bound, check_inner, per_group
from .history import Decision, History
from .rates import FactoredRates, Rate, read_rate, write_rate

BRAKE = 0.8  # factor on a measurement that is not finite, and of the divergence brake of TopoAdamW
KEPT_DECISIONS = 100  # in state_dict


class LandscapeLR(LRScheduler):
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

    _not_saved: ClassVar[frozenset[str]] = frozenset({
        "optimizer",
        "model",
        "history",
        "_rates",
        "_schedulers",
        "_hook",
        "_set_up",
    })

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
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        for name, value, least in (("interval", interval, 1), ("warmup", warmup, 0), ("history_size", history_size, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.interval = interval
        self.warmup = warmup
        self.min_ratio = per_group("min_ratio", min_ratio, optimizer)
        self.max_ratio = per_group("max_ratio", max_ratio, optimizer)
        if any(low > high for low, high in zip(self.min_ratio, self.max_ratio, strict=True)):
            raise ValueError(f"min_ratio must not exceed max_ratio, got {min_ratio} and {max_ratio}")
        if inner is not None:
            check_inner(inner, optimizer)
            # Under this name SequentialLR reaches it when it takes back what constructors did.
            self._schedulers = [inner]
        self.factors = [1.0] * len(optimizer.param_groups)
        self.history = History(history_size)
        self.history_size = history_size
        self._rates = FactoredRates(optimizer)
        self._steps = 0
        self._asked = -1
        self._warned = False
        self._set_up = False
        self.optimizer = optimizer
        self._hook = self._count_steps()
        super().__init__(optimizer, last_epoch)

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

    def scale(self, factor: float) -> None:
        """Multiply the factor of every group, within the bounds.

        Args:
            factor: Above 1 accelerates.
        """
        self.factors = [self._clip(i, value * factor) for i, value in enumerate(self._current_factors())]

    def assign(self, factor: float) -> None:
        """Set the factor of every group, within the bounds.

        Args:
            factor: The new factor.
        """
        self.factors = [self._clip(i, factor) for i in range(len(self.optimizer.param_groups))]

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

    # What torch calls

    def _initial_step(self) -> None:
        if self._set_up and self._inner is not None:
            # SequentialLR has taken the constructors' steps back. It stops at our list, so our own is left to us.
            self.last_epoch -= 1
            self._inner._initial_step()
        self._set_up = True
        super()._initial_step()  # type: ignore[no-untyped-call,unused-ignore]  # typed in some versions of torch only

    def _update_lr(self, epoch: int | None = None) -> None:
        self._plain = self._rates.current_plain()
        if self._inner is not None and not self._is_initial:
            for group, rate in zip(self.optimizer.param_groups, self._plain, strict=True):
                write_rate(group, rate)
            if epoch is None:
                self._inner.step()
            else:
                self._inner._update_lr(epoch)
            self._plain = [read_rate(group) for group in self.optimizer.param_groups]
        elif epoch is not None:
            self._plain = self._base_rates()
        factors = self._applied_factors()
        super()._update_lr(epoch)
        self._rates.remember(self._plain, factors)
        del self._plain

    def get_lr(self) -> list[Rate]:  # type: ignore[override,unused-ignore]  # float only in some versions of torch
        """Compute the rates that ``step()`` sets; read them with ``get_last_lr()``.

        Returns:
            The current rate of each group while the scheduler is being set up, then plain rate × factor.
        """
        plain = self._plain if "_plain" in self.__dict__ else self._rates.current_plain()
        return self._rates.product(plain, self._applied_factors())

    def _get_closed_form_lr(self) -> list[Rate]:
        """Compute the rates of a given epoch: the initial ones, or those of ``inner``, times our factor."""
        plain = self._plain if "_plain" in self.__dict__ else self._base_rates()
        return self._rates.product(plain, self._applied_factors())

    def state_dict(self) -> dict[str, Any]:
        """Give the state as numbers, strings, lists, dicts and tensors.

        Returns:
            What ``torch.load(weights_only=True)`` accepts; no model, no closure, no generator.
        """
        state = {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if name not in self._not_saved
        }
        state["rates"] = self._rates.state()
        state["history"] = self.history.state(KEPT_DECISIONS)
        if self._inner is not None:
            state["inner"] = self._inner.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; load the optimizer's as well.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: If it comes from a scheduler of another shape.
        """
        state = dict(state_dict)
        missing = {"rates", "history", "factors"} - state.keys()
        if missing:
            raise ValueError(
                f"this is not a state of {type(self).__name__}: {', '.join(sorted(missing))} missing; pass what its "
                "state_dict() returned"
            )
        if ("inner" in state) != (self._inner is not None):
            has, lacks = ("the state", "this scheduler") if "inner" in state else ("this scheduler", "the state")
            raise ValueError(f"{has} has an inner scheduler, {lacks} has none; construct both alike")
        self._rates.restore(state.pop("rates"))
        self.history.restore(state.pop("history"))
        if self._inner is not None:
            self._inner.load_state_dict(state.pop("inner"))
        self.__dict__.update({name: list(v) if isinstance(v, list) else v for name, v in state.items()})

    # Inside

    @property
    def _inner(self) -> LRScheduler | None:
        return cast("list[LRScheduler]", self.__dict__.get("_schedulers", [None]))[0]

    def _clip(self, i: int, factor: float) -> float:
        # A group added later takes the bounds of the last one.
        low, high = (bounds[min(i, len(bounds) - 1)] for bounds in (self.min_ratio, self.max_ratio))
        return min(max(factor, low), high)

    def _current_factors(self) -> list[float]:
        """Give one factor per group; a group added later starts at the first group's."""
        missing = range(len(self.factors), len(self.optimizer.param_groups))
        return [*self.factors, *(self._clip(i, self.factors[0]) for i in missing)]

    def _applied_factors(self) -> list[float]:
        return [1.0] * len(self.optimizer.param_groups) if self._is_initial else self._current_factors()

    def _base_rates(self) -> list[Rate]:
        groups = self.optimizer.param_groups
        return [read_rate({"lr": group.get("initial_lr", group["lr"])}) for group in groups]

    def _count_steps(self) -> Any:
        myself = weakref.ref(self)  # the optimizer must not keep its scheduler, and with it the model, alive

        def count(*_: object) -> None:
            scheduler = myself()
            if scheduler is not None:
                scheduler._steps += 1

        handle = self.optimizer.register_step_post_hook(count)
        weakref.finalize(self, handle.remove)
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_hook"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hook = self._count_steps()
