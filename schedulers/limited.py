"""Factors that a policy wants, within limits on the rates themselves that hold at every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from .base import LandscapeLR
from .history import Decision
from .immediate import holds_rates, write_now
from .rates import Rate


class LimitedLR(LandscapeLR):
    """Base of schedulers that know how high a rate may be, not only what to multiply it by.

    f_i = clip(min(w_i, m_i/η_i^plain)), with w_i the factor that the policy wants and m_i the largest rate of group i.
    Whatever an ``inner`` scheduler does to the plain rates η_i between two probes, the limit holds at every step. A
    lower rate is set at once, not at the next ``step()``, unless somebody else has changed the rates meanwhile.

    Args:
        *args: Those of :class:`LandscapeLR`.
        **options: Likewise.

    Raises:
        TypeError: As :class:`LandscapeLR`.
        ValueError: Likewise.
    """

    _not_saved = LandscapeLR._not_saved | {"_stand_in"}

    def __init__(self, *args: Any, **options: Any) -> None:
        self._stand_in: Optimizer | None = None
        self._limits: list[float] = []  # of the rates, by group; 0 where unknown
        self._wanted: list[float] = []  # factors regardless of the limits; none before the first decision
        super().__init__(*args, **options)

    @contextmanager
    def reading(self, optimizer: Optimizer) -> Iterator[None]:
        """Let probes read state and rates of another optimizer, whose rates somebody else writes.

        Args:
            optimizer: With as many groups as the scheduler's own.

        Yields:
            Nothing.
        """
        self._stand_in = optimizer
        try:
            yield
        finally:
            self._stand_in = None

    @property
    def measured_optimizer(self) -> Optimizer:
        """The optimizer whose state and rates count."""
        return self.optimizer if self._stand_in is None else self._stand_in

    def want(self, *factors: float) -> bool:
        """Set the factors, as far as bounds and limits allow.

        Args:
            *factors: One for all groups, or one per group.

        Returns:
            Whether a limit allows less.
        """
        groups = len(self.optimizer.param_groups)
        self._wanted = [*factors] if len(factors) == groups else [factors[0]] * groups
        self.factors, limited = self._fitted(self._rates.current_plain())
        return limited

    def scale(self, factor: float) -> None:
        """Multiply the factor of every group, within the bounds.

        Args:
            factor: Above 1 accelerates, up to the limits.
        """
        super().scale(factor)
        self._wanted = list(self.factors)

    @property
    def largest_rates(self) -> list[float]:
        """The largest rate of each group, 0 where it is not known; empty before it was measured."""
        return list(self._limits)

    def observe(self, measurement: Any) -> Decision:
        """Update the factors by a measurement, and record why; a lower rate is set at once.

        Args:
            measurement: A frozen dataclass, as ``measure`` returns it.

        Returns:
            The record that was added to ``history``.
        """
        ours = self._stand_in is None and holds_rates(self)
        decision = super().observe(measurement)
        before = [float(group["lr"]) for group in self.optimizer.param_groups]
        if ours and any(after < rate for after, rate in zip(decision.rates, before, strict=True)):
            write_now(self)
        return decision

    def factors_for(self, plain: list[Rate]) -> list[float]:
        """Compute the factors on given plain rates.

        Args:
            plain: One rate per group.

        Returns:
            One factor per group.
        """
        return self._current_factors() if not self._wanted or _remote(plain) else self._fitted(plain)[0]

    def _fitted(self, plain: list[Rate]) -> tuple[list[float], bool]:
        """Fit what is wanted into the limits; tell whether they were needed."""
        rates = [float(rate) for rate in plain]
        limits = [*self._limits, *[0.0] * len(rates)][: len(rates)]
        room = [limit / rate if limit > 0 and rate > 0 else None for limit, rate in zip(limits, rates, strict=True)]
        least = min((value for value in room if value is not None), default=float("inf"))  # where it is not known
        wanted = [*self._wanted, *[self._wanted[0]] * len(rates)][: len(rates)]
        free = [self._clip(i, factor) for i, factor in enumerate(wanted)]
        allowed = [least if value is None else value for value in room]
        held = [self._clip(i, min(factor, most)) for i, (factor, most) in enumerate(zip(free, allowed, strict=True))]
        return held, held != free

    def _applied_factors(self) -> list[float]:
        plain = self.__dict__.get("_plain")
        if plain is not None and self._wanted and not self._is_initial and not _remote(plain):
            self.factors, _ = self._fitted(plain)
        return super()._applied_factors()


def _remote(rates: list[Rate]) -> bool:
    """Tell whether a rate is on an accelerator; it is looked at when a probe waits for the device anyway."""
    return any(isinstance(rate, Tensor) and rate.device.type != "cpu" for rate in rates)
