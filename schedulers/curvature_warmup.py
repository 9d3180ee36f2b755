"""CurvatureWarmup: raise the rate as fast as the curvature allows."""

from __future__ import annotations

from typing import Any, Unpack

from torch import nn
from torch.optim import Optimizer

from .base import has_begun
from .curvature import CurvatureLR, CurvatureOptions
from .curvature_checks import check_positive
from .curvature_measurement import KappaMeasurement, SharpnessMeasurement
from .history import Decision
from .immediate import write_now


class CurvatureWarmup(CurvatureLR):
    r"""Start at ``start`` times the plain rate, grow by ``growth`` per step while the curvature allows, then end.

    **criterion="sharpness" (default).** The rate grows up to the edge and along it, and is never above; see
    :class:`CurvatureLR`. Once the plain rate is reached below the edge, the warmup is over: nothing is measured any
    more and the factor stays.

    **criterion="kappa".** It grows while κ < ``ceiling``, 1e6 as published, else it stands. κ is small where gradients
    are large, at the beginning, so that this rule hardly ever stands when it matters.

    The target is the optimizer's rate, or that of ``inner``, times ``max_ratio``. Put a cosine into ``inner`` for what
    comes after. In a SequentialLR it measures and grows from its own part on.

    Differences from the published code: see :class:`HomotopyLR`; measured is every ``interval`` steps, growth is per
    optimizer step, and it starts with the first step whatever the probes say later.

    ============  ===============================================
    reason        what it means
    ============  ===============================================
    growing       the rate grows at each step from here on
    edge          the rate is held at margin·c/s
    high kappa    κ ≥ ceiling: the rate stands
    saddle        no upward curvature: everything goes on
    non-finite    NaN or infinity: × .8 and stands, warns once
    ============  ===============================================

    Source: the draft "Homotopy learning rates" (2026), its class CurvatureWarmup.

    Args:
        optimizer: See :class:`CurvatureLR`.
        model: Likewise.
        start: Factor at the first step.
        growth: Factor per optimizer step.
        ceiling: For "kappa": largest κ at which the rate grows, in 1/loss.
        **options: Those of :class:`CurvatureLR`.

    Raises:
        TypeError: As :class:`CurvatureLR`.
        ValueError: Likewise.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        >>> scheduler = CurvatureWarmup(optimizer, model, growth=2.0)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.02]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        start: float = 0.01,
        growth: float = 1.01,
        ceiling: float = 1e6,
        **options: Unpack[CurvatureOptions],
    ) -> None:
        check_positive(start=start, ceiling=ceiling)
        if not 1 < growth < float("inf"):
            raise ValueError(f"growth must be above 1 and finite, got {growth}")
        self.start = start
        self.growth = growth
        self.ceiling = ceiling
        self._growing = True
        self._finished = False
        self._taken = 0  # optimizer steps that the growth has seen
        super().__init__(optimizer, model, **options)
        self.want(start)
        write_now(self)

    @property
    def finished(self) -> bool:
        """Whether the target is reached and the warmup over."""
        return self._finished

    def awaits_probe(self) -> bool:
        """Tell whether :meth:`probe` would measure now; never once the warmup is over.

        Returns:
            Whether it is time, and nobody has taken the turn since the latest optimizer step; never before the
            scheduler's own part of a SequentialLR.
        """
        return not self._finished and has_begun(self) and super().awaits_probe()

    def observe(self, measurement: Any) -> Decision:
        """Update the factor by a measurement, and record why.

        Args:
            measurement: What ``measure`` returned.

        Returns:
            The record that was added to ``history``.
        """
        self._grow()
        if not self.finite(measurement):
            self._growing = False
        return super().observe(measurement)

    def decide_sharpness(self, measurement: SharpnessMeasurement) -> str:
        """Go on, below the edge.

        Args:
            measurement: What was measured.

        Returns:
            "growing" or "edge".
        """
        self._growing = True
        self.keep_below_edge(measurement)
        factors = self._current_factors()
        limited = self.want(*(factor * self.growth for factor in factors))  # would the next step meet the edge?
        self.want(*factors)
        return "edge" if limited else "growing"

    def decide_kappa(self, measurement: KappaMeasurement) -> str:
        """Go on, or stand.

        Args:
            measurement: What was measured.

        Returns:
            "growing" or "high kappa".
        """
        self._growing = measurement.kappa < self.ceiling
        return "growing" if self._growing else "high kappa"

    def step(self, epoch: int | None = None) -> None:
        """Let the factor grow by what optimizer steps there were, and set the rates.

        Args:
            epoch: As in torch.
        """
        self._grow()
        super().step(epoch)

    def _grow(self) -> None:
        """Grow for the latest optimizer steps, once, whichever of probe and step() comes first."""
        if not has_begun(self):
            return
        steps, self._taken = self._steps - max(self._taken, self._begun), self._steps
        if self._finished or not self._growing or steps == 0:
            return
        self.want(*(factor * self.growth**steps for factor in self._current_factors()))
        tops = [self._clip(i, float("inf")) for i in range(len(self.factors))]
        if self.factors == tops:
            self._finished = True
            self._limits = []
