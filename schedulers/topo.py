"""TopoLR: the learning rate follows the curvature of random planes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape import features, sparse_stencil
from ..landscape.engines import Engine
from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice, movable
from .base import BRAKE
from .checks import Bound, OnError
from .plane import PlaneLR

# At 50, nine points cost 5 to 8 % of training. No interval from 10 to 200 was better than another on three workloads,
# and on a transformer 100 was a little better (docs/evidence.md).
INTERVAL, PUBLISHED_INTERVAL = 100, 50


@dataclass(frozen=True, eq=False)
class TopoMeasurement:
    """What a probe of a random plane says.

    Attributes:
        loss: Loss at the centre, ℓ0.
        sharpness: As published: mean of the eight neighbours over ℓ0, minus 1.
        variance: As published: population standard deviation over mean of all points.
        curvature: Largest eigenvalue of the fitted in-plane Hessian, loss per unit² of the directions.
        gradient: Length of the fitted in-plane gradient, loss per unit.
        roughness: Root mean square of what the quadratic fit leaves, in units of the loss.
    """

    loss: float
    sharpness: float
    variance: float
    curvature: float
    gradient: float
    roughness: float


def published_rule(sharpness: float, variance: float) -> tuple[float, str]:
    """Apply TopoAdamW's heuristic.

    ======================================  =======  ==================
    in this order                           factor   reason
    ======================================  =======  ==================
    sharpness < .1 and variance < .3        1.15     flat
    sharpness > .5                          .80      very sharp
    variance > .5                           .85      high variance
    sharpness > .2                          .95      moderately sharp
    otherwise                               1        neutral
    ======================================  =======  ==================

    Source: Peng, "TopoAdamW", Eq. 4 (2026 draft; code topoadamw 0.1.0).

    Args:
        sharpness: As published.
        variance: As published.

    Returns:
        The factor and the reason. A negative sharpness (a saddle) counts as flat.

    Example:
        >>> published_rule(0.3, 0.1)
        (0.95, 'moderately sharp')
    """
    if sharpness < 0.1 and variance < 0.3:
        return 1.15, "flat"
    if sharpness > 0.5:
        return 0.80, "very sharp"
    if variance > 0.5:
        return 0.85, "high variance"
    if sharpness > 0.2:
        return 0.95, "moderately sharp"
    return 1.0, "neutral"


class TopoLR(PlaneLR):
    """Steer the learning rate by the loss landscape on a random plane, probed every ``interval`` steps.

    **Corrected (default).** A quadratic is fitted to nine points of a fresh filter-normalised random plane; q is the
    largest eigenvalue of its Hessian, s ← .7·s + .3·log q, and

        factor = clip(exp(γ·(s0 − s)), min_ratio, max_ratio),   γ = ½,

    with s0 the value of the first probe: the rate follows the inverse square root of the measured curvature. It has no
    threshold and does not depend on the scale of the loss. Where q ≤ 0 (a saddle, uphill from the centre) the factor
    stays.

    **preset="published".** TopoAdamW (Peng, 2026 draft, Eqs. 2–4; code topoadamw 0.1.0) as its code does it: 25 points,
    1-D parameters move too, η ← clip(η·ρ, η⁰·.2, η⁰) with ρ of :func:`published_rule`, and ρ = .8 if the loss exceeds
    twice its average. With max_ratio = 1 the ×1.15 can only undo earlier cuts, and the variance is a threshold on the
    loss in disguise: on a language model, whose loss never gets small, this rule never acts.

    Differences of the default from the paper: the features (curvature per unit radius instead of sharpness and
    variance), the rule, nine points every 100 steps instead of 25 every 50, 1-D parameters do not move (Li et al.
    2018), and the divergence brake compares with the average *before* it takes the new loss in; the published code does
    it the other way round, which makes its real threshold 2.667 times the previous average.

    Learning rates with the published preset, peak 1e-3, if probes find these:

        ====================  ==========  ==========  =========
        probe                 sharpness   variance    rate
        ====================  ==========  ==========  =========
        step 200              .05         .10         1.000e-3
        step 250              .60         .10         8.000e-4
        step 300              .30         .10         7.600e-4
        step 350              .05         .10         8.740e-4
        ====================  ==========  ==========  =========

    The natural place of ``probe`` is after ``optimizer.step()``, with the batch just used. It costs as many forward
    passes as there are points, and leaves no trace on model, gradients or random state.

    Args:
        optimizer: Any torch optimizer.
        model: The model whose parameters move; closures must call this very module or a wrapper of it.
        preset: "corrected" or "published".
        interval: Optimizer steps between probes, T; by default 100 (corrected) or 50 (published).
        warmup: Optimizer steps before the first probe, W.
        span: Half the width of the published square, in units of the directions; the nine points lie at
            2·span/(reference_grid − 1).
        reference_grid: See ``span``.
        samples: Uniform points beside the nine; by default none (corrected) or 16 (published).
        bias: What becomes of 1-D parameters in the directions; by default "zero" (corrected) or "match" (published).
        seed: Directions are drawn from (seed, number of the probe).
        gamma: Exponent γ of the corrected rule.
        smoothing: Weight of the past in s.
        brake: Loss over its average beyond which the corrected rule decelerates by .8 as well; infinity switches it
            off.
        min_ratio: Lower bound of the factor, one number or one per group; by default .05 (corrected) or .2
            (published).
        max_ratio: Upper bound.
        parameters: Restricts what moves; see :func:`lrscape.landscape.random_directions`.
        engine: See :func:`lrscape.landscape.evaluate`.
        batch_norm: Likewise.
        inner: Any torch scheduler that sets the plain rates.
        history_size: How many decisions to keep.
        on_error: "raise" what a probe raises, or "skip" the probe; see :class:`LandscapeLR`.
        last_epoch: As in torch.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If an option is unknown or out of range, or the model has nothing to move.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> scheduler = TopoLR(optimizer, model, preset="published", interval=1, warmup=0)
        >>> decision = scheduler.observe(TopoMeasurement(1.0, 0.6, 0.1, 1.0, 1.0, 0.0))
        >>> decision.reason, decision.factors
        ('very sharp', [0.8])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        preset: Literal["corrected", "published"] = "corrected",
        interval: int | None = None,
        warmup: int = 150,
        span: float = 0.12,
        reference_grid: int = 15,
        samples: int | None = None,
        bias: Literal["zero", "match"] | None = None,
        seed: int = 0,
        gamma: float = 0.5,
        smoothing: float = 0.7,
        brake: float = 2.0,
        min_ratio: Bound | None = None,
        max_ratio: Bound = 1.0,
        parameters: ParameterChoice = None,
        engine: Engine = "auto",
        batch_norm: BatchNorm = "eval",
        inner: LRScheduler | None = None,
        history_size: int = 10_000,
        on_error: OnError = "raise",
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}")
        if not (math.isfinite(gamma) and gamma > 0):
            raise ValueError(f"gamma must be positive, got {gamma}")
        self.reference_grid = reference_grid
        self.samples = (16 if preset == "published" else 0) if samples is None else samples
        self.gamma = gamma
        self.smoothing = smoothing
        self._told = False
        self._log_curvature: float | None = None
        self._reference: float | None = None
        sparse_stencil(span, reference_grid, self.samples)  # rejects bad numbers now rather than at the first probe
        super().__init__(
            optimizer,
            model,
            preset=preset,
            span=span,
            bias=bias,
            seed=seed,
            brake=brake,
            parameters=parameters,
            engine=engine,
            batch_norm=batch_norm,
            interval=(PUBLISHED_INTERVAL if preset == "published" else INTERVAL) if interval is None else interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    def measure(self, closure: Callable[[], Tensor]) -> TopoMeasurement:
        """Probe a random plane through the current parameters.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            The measurement.
        """
        stencil = sparse_stencil(self.span, self.reference_grid, self.samples, seed=self.plane_seed)
        surface = self.measure_plane(closure, stencil)
        if not self._told and math.isfinite(surface.center) and (surface.losses == surface.center).all():
            self._told = True
            slots = movable(self.model, self._parameters)
            moving = any(bool(s.parameter.any()) for s in slots if s.parameter.dim() > 1 or self.bias != "zero")
            reason = (
                "the closure does not depend on the parameters of the model given to TopoLR. Compute the loss inside "
                "it, e.g. lambda: criterion(model(x), y)"
                if moving
                else "all parameters that move are 0, and their filters with them have no length to move by"
            )
            warnings.warn(
                f"the loss is {surface.center:g} at all {len(surface)} points: {reason}; this is said once",
                RuntimeWarning,
                stacklevel=3,
            )
        found = features(surface)
        return TopoMeasurement(
            loss=found.center,
            sharpness=found.sharpness,
            variance=found.variance,
            curvature=float(found.fit.eigenvalues[-1]),
            gradient=math.hypot(*found.fit.gradient),
            roughness=found.fit.roughness,
        )

    def decide(self, measurement: TopoMeasurement) -> str:
        """Update the factor by the preset's rule.

        Args:
            measurement: What :meth:`measure` found.

        Returns:
            The reason.
        """
        return (
            self._decide_published(measurement) if self.preset == "published" else self._decide_corrected(measurement)
        )

    def _decide_published(self, measurement: TopoMeasurement) -> str:
        factor, reason = published_rule(measurement.sharpness, measurement.variance)
        if self.diverging(measurement.loss):
            factor, reason = BRAKE, "brake"
        self.scale(factor)
        return reason

    def _decide_corrected(self, measurement: TopoMeasurement) -> str:
        if self.diverging(measurement.loss):
            self.scale(BRAKE)
            return "brake"
        if measurement.curvature <= 0:
            return "saddle"
        newest = math.log(measurement.curvature)
        past = newest if self._log_curvature is None else self._log_curvature
        self._log_curvature = self.smoothing * past + (1 - self.smoothing) * newest
        if self._reference is None:
            self._reference = self._log_curvature
            return "reference"
        exponent = self.gamma * (self._reference - self._log_curvature)
        self.assign(math.exp(min(exponent, 700.0)))  # beyond, exp overflows; the bounds are long reached
        return "curvature"
