"""Rates as a plain part times a factor, composed with torch's own schedulers."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar, cast

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape.stability import unwrapped
from .checks import Bound, check_inner, per_group
from .inner_step import advance, check_epoch
from .plain_values import plain_values
from .rates import FactoredRates, Rate, read_rate, write_rate
from .skipped_steps import skips_step


class FactoredLR(LRScheduler):
    """Base of schedulers that multiply learning rates by factors of their own.

    η_i = η_i^plain · f_i, where the plain rate is the optimizer's own, or that of ``inner``, and the factor f_i stays
    within [min_ratio_i, max_ratio_i]. Schedulers that overwrite the rate (warmup, cosine, OneCycle, LambdaLR) would
    lose the factor in a plain chain; as ``inner`` they see their own rates only.

    Args:
        optimizer: Any torch optimizer; learning rates may be floats or tensors.
        min_ratio: Lower bound of the factor, one number or one per group.
        max_ratio: Upper bound, likewise.
        inner: Any torch scheduler of the same optimizer.
        last_epoch: As in torch.

    Raises:
        TypeError: If ``optimizer`` is none, or ``inner`` is not a scheduler that can be composed.
        ValueError: If a bound is out of range or ``inner`` belongs to another optimizer.
    """

    _not_saved: ClassVar[frozenset[str]] = frozenset({
        "optimizer",
        "model",
        "_rates",
        "_schedulers",
        "_hook",
        "_set_up",
        "_counted",
    })

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        min_ratio: Bound,
        max_ratio: Bound,
        inner: LRScheduler | None,
        last_epoch: int,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        self.min_ratio = per_group("min_ratio", min_ratio, optimizer)
        self.max_ratio = per_group("max_ratio", max_ratio, optimizer)
        if any(low > high for low, high in zip(self.min_ratio, self.max_ratio, strict=True)):
            raise ValueError(f"min_ratio must not exceed max_ratio, got {min_ratio} and {max_ratio}")
        if inner is not None:
            check_inner(inner, optimizer)
            # Under this name SequentialLR reaches it when it takes back what constructors did.
            self._schedulers = [inner]
        self.factors = [1.0] * len(optimizer.param_groups)
        optimizer = unwrapped(optimizer)
        self._rates = FactoredRates(optimizer)
        self._steps = 0
        self._set_up = False
        self._counted = 0
        self.optimizer = optimizer
        self._hook = self._count_steps()
        super().__init__(optimizer, last_epoch)

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

    def _initial_step(self) -> None:
        if self._set_up and self._inner is not None:
            # SequentialLR has taken the constructors' steps back. It stops at our list, so our own is left to us.
            self.last_epoch -= 1
            self._inner._initial_step()
        self._set_up = True
        super()._initial_step()  # type: ignore[no-untyped-call,unused-ignore]  # typed in some versions of torch only

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch is not None and self._inner is not None and not self._is_initial:
            check_epoch(self._inner, epoch)
        by_step, self._counted = self._step_count != self._counted, self._step_count
        self._plain = self._rates.current_plain()
        if self._inner is not None and not self._is_initial:
            for group, rate in zip(self.optimizer.param_groups, self._plain, strict=True):
                write_rate(group, rate)
            advance(self._inner, epoch, by_step=by_step)
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
        state = {name: value for name, value in self.__dict__.items() if name not in self._not_saved}
        state["rates"] = self._rates.state()
        if self._inner is not None:
            state["inner"] = self._inner.state_dict()
        return {name: plain_values(value) for name, value in state.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; load the optimizer's as well.

        Args:
            state_dict: What :meth:`state_dict` gave.

        Raises:
            ValueError: If it comes from a scheduler of another shape; nothing has changed then.
        """
        self._check_state(state_dict)
        state = dict(state_dict)
        self._rates.restore(state.pop("rates"))
        if self._inner is not None:
            self._inner.load_state_dict(state.pop("inner"))
        self.__dict__.update({name: list(v) if isinstance(v, list) else v for name, v in state.items()})
        self._counted = self._step_count

    def _check_state(self, state: dict[str, Any]) -> None:
        """Reject a state of another scheduler; a subclass that restores parts of its own calls this before it does."""
        missing = {"rates", "factors"} - state.keys()
        if missing:
            raise ValueError(
                f"this is not a state of {type(self).__name__}: {', '.join(sorted(missing))} missing; pass what its "
                "state_dict() returned"
            )
        if ("inner" in state) != (self._inner is not None):
            has, lacks = ("the state", "this scheduler") if "inner" in state else ("this scheduler", "the state")
            raise ValueError(f"{has} has an inner scheduler, {lacks} has none; construct both alike")
        foreign = sorted(
            name for name in state.keys() - {"rates", "inner", "history"}
            if name in self._not_saved or callable(getattr(type(self), name, None))
        )  # fmt: skip
        if foreign:
            raise ValueError(f"this is not a state of {type(self).__name__}: it would replace {', '.join(foreign)}")
        groups = len(self.optimizer.param_groups)
        saved = max(map(len, [state["factors"], *state["rates"].values()]))
        if saved > groups:  # fewer are fine: a group added later has no entry until the next step
            raise ValueError(
                f"the state has {saved} parameter groups, the optimizer of this {type(self).__name__} has {groups}; "
                "make the groups as they were, those added later too, before loading"
            )

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
            if scheduler is not None and not skips_step(scheduler.optimizer):
                scheduler._steps += 1

        handle = self.optimizer.register_step_post_hook(count)
        weakref.finalize(self, handle.remove)
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_hook"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hook = self._count_steps()
