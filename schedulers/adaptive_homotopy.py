"""AdaptiveHomotopyLR: slow down where the loss is sharper than it usually is."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from torch import nn
from torch.optim import Optimizer

from .curvature import CurvatureLR, CurvatureOptions
from .curvature_measurement import KappaMeasurement, SharpnessMeasurement
from .homotopy import published_factor

RECENT = 100  # estimates of which the target follows the percentile, as published
PERCENTILE = 75
RAMP = {"kappa": 1000, "sharpness": 20}  # 1000 as published, one estimate per step


class AdaptiveHomotopyLR(CurvatureLR):
    r"""Learn from the run itself what curvature is usual, and slow down above it.

    During the first ``ramp`` estimates the factor rises linearly, n/ramp. Then the target is their 75th percentile;
    from that estimate on it drifts, τ ← (1 − r)·τ + r·(75th percentile of the last 100) with r = ``drift``, and

        factor = 1/(1 + max(0, q/τ − 1)) = min(1, τ/q)

    with q the newest estimate, not smoothed.

    **criterion="sharpness" (default).** q is the sharpness λ_max(P⁻¹H), and rates stay below the edge besides; see
    :class:`CurvatureLR`. The rule does not depend on the scale of the loss.

    **criterion="kappa".** q is κ, estimated at every step, and ramp = 1000, as published. κ grows as the gradient
    vanishes, and the target drifts after it.

    Until the first estimate the optimizer's own rate stands: probe before the first step.

    Differences from the published code: see :class:`HomotopyLR`; and what is kept is bounded.

    ============  =============================================
    reason        what it means
    ============  =============================================
    ramp          the factor rises by one part in ``ramp``
    sharp         q > τ: the rate is lowered by τ/q
    usual         q ≤ τ
    edge          the edge allows less than that
    saddle        no upward curvature: everything stays
    non-finite    NaN or infinity: × .8, and warns once
    ============  =============================================

    Source: the draft "Homotopy learning rates" (2026), its class AdaptiveHomotopyLR.

    Args:
        optimizer: See :class:`CurvatureLR`.
        model: Likewise.
        ramp: Estimates in the linear ramp; by default 20 for "sharpness", 1000 for "kappa".
        drift: r, from 0 to 1.
        **options: Those of :class:`CurvatureLR`.

    Raises:
        TypeError: As :class:`CurvatureLR`.
        ValueError: Likewise.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> scheduler = AdaptiveHomotopyLR(torch.optim.SGD(model.parameters(), lr=0.1), model, ramp=1)
        >>> for sharpness in (2.0, 8.0):
        ...     decision = scheduler.observe(SharpnessMeasurement(sharpness, 0.0, 2.0, 0.1, 1.0, 1))
        >>> decision.reason, round(decision.factors[0], 4)
        ('sharp', 0.2556)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        ramp: int | None = None,
        drift: float = 0.01,
        **options: Unpack[CurvatureOptions],
    ) -> None:
        if ramp is not None and (not isinstance(ramp, int) or ramp < 1):
            raise ValueError(f"ramp must be a whole number of at least 1 estimate, or None, got {ramp!r}")
        if not 0 <= drift <= 1:
            raise ValueError(f"drift must be from 0 to 1, got {drift}")
        self._estimates: list[float] = []  # all of the ramp's, then the latest hundred
        self._count = 0
        self._target: float | None = None
        self.drift = drift
        super().__init__(optimizer, model, **options)
        self.ramp = RAMP[self.criterion] if ramp is None else ramp

    def decide_sharpness(self, measurement: SharpnessMeasurement) -> str:
        """Apply the rule to the sharpness, below the edge.

        Args:
            measurement: What was measured.

        Returns:
            "ramp", "sharp", "usual" or "edge".
        """
        self.keep_below_edge(measurement)
        return self._follow(measurement.sharpness)

    def decide_kappa(self, measurement: KappaMeasurement) -> str:
        """Apply the rule to κ.

        Args:
            measurement: What was measured.

        Returns:
            "ramp", "sharp" or "usual".
        """
        return self._follow(measurement.kappa)

    def _follow(self, newest: float) -> str:
        self._count += 1
        self._estimates.append(newest)
        if self._count == self.ramp:
            self._target = float(np.percentile(self._estimates, PERCENTILE))
        if self._target is None:
            factor, reason = self._count / self.ramp, "ramp"
        else:
            self._estimates = self._estimates[-RECENT:]
            usual = float(np.percentile(self._estimates, PERCENTILE))
            self._target += self.drift * (usual - self._target)
            factor = published_factor(newest, self._target) if self._target > 0 else 1.0
            reason = "sharp" if newest > self._target else "usual"
        return "edge" if self.want(factor) else reason
