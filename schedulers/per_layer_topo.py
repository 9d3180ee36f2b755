"""PerLayerTopoLR: each layer's learning rate follows the curvature of random planes of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..landscape import sparse_stencil
from ..landscape.engines import Engine
from ..landscape.modes import BatchNorm
from ..landscape.parameters import ParameterChoice, repeatable
from .base import BRAKE
from .checks import Bound, OnError
from .history import Decision
from .layer_groups import named_by_layer
from .per_layer_topo_measurement import PerLayerTopoMeasurement, measure_group_planes, names_by_group
from .plane import PlaneLR
from .topo import INTERVAL


class PerLayerTopoLR(PlaneLR):
    r"""Steer each parameter group by the loss on planes of its own; make the groups by :func:`layer_param_groups`.

    At a probe every group has a fresh filter-normalised random plane on which its parameters move and all others stay.
    With q_l the largest eigenvalue of the Hessian that is fitted to nine points of group l's plane,

        s_l ← .7·s_l + .3·log q_l,   factor_l = clip(exp(γ·(s0_l − s_l)), min_ratio_l, max_ratio_l),   γ = ½,

    with s0_l the value at the group's first q_l > 0: each layer's rate follows the inverse square root of its own
    measured curvature, relative to where that started. Layers are not compared with each other, so the proportions of
    their rates at the start are the optimizer's. With one group, this is :class:`TopoLR` bit for bit.

    The points lie √G times as far out as TopoLR's, with G groups that move: squared lengths of the groups' directions
    add up to that of the whole, so a group of average size moves as far as all of them do in TopoLR. At TopoLR's own
    distance the loss, in single precision, changes too little: on a character transformer of 11 such groups rounding
    put the curvature of insensitive layers off by up to 59 %; so it is 18 % at worst, and 4 % later in the run.

    A group keeps its factor where q_l ≤ 0, where the loss does not depend on it, and where it has nothing to move:
    parameters that the model does not have, that are frozen, all 0, or 1-D (with ``bias="zero"``). The divergence
    brake compares the loss at the centre once, and slows all groups. So does a number that is not finite on any plane:
    the model is then close to a cliff in one of its layers, and all of them move at the next step.

    A probe costs nine forward passes for each group that moves: by default there is one every 100·groups steps, so that
    it costs what TopoLR costs. A group that is added later starts with the first group's factor and follows its own
    curvature from its second probe on; the interval stays, and G counts it.

    ============  ===================================================
    reason        what it means
    ============  ===================================================
    reference     first curvatures, with which later ones are compared
    curvature     at least one group was set by its curvature
    saddle        no plane curves upwards: everything stays
    brake         a loss above twice its average: all × .8
    non-finite    NaN or infinity: all × .8, and warns once
    skipped       the probe raised, and ``on_error="skip"``
    ============  ===================================================

    The history has the groups' curvature under "layer …", or "group i" where a group does not name its layer, 0 for
    those that were not probed; and the largest under "curvature".

    Source: the rule is the corrected one of :class:`TopoLR`. Peng, "TopoAdamW" (2026 draft), names factors by layer as
    an open question and gives no rule for them.

    Args:
        optimizer: Any torch optimizer.
        model: The model whose parameters move; closures must call this very module or a wrapper of it.
        interval: Optimizer steps between probes; by default 100 for each group with something to move.
        warmup: Optimizer steps before the first probe.
        span: Half the width of the published square, in units of the directions; the nine points of each plane lie at
            √G·2·span/(reference_grid − 1).
        reference_grid: See ``span``.
        bias: What becomes of 1-D parameters in the directions; "match" moves groups that hold nothing else, too.
        seed: Directions are drawn from (seed, number of the probe).
        gamma: Exponent γ.
        smoothing: Weight of the past in s.
        brake: Loss over its average beyond which all groups decelerate by .8; infinity switches it off.
        min_ratio: Lower bound of the factor, one number or one per group.
        max_ratio: Upper bound; above 1 for layers that may accelerate where they become flatter.
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
        >>> from lrscape.schedulers import layer_param_groups
        >>> model = nn.Sequential(*[nn.Linear(1, 1, bias=False).double() for _ in range(2)])
        >>> optimizer = torch.optim.SGD(layer_param_groups(model, lr=0.1))
        >>> scheduler = PerLayerTopoLR(optimizer, model, smoothing=0.0, brake=float("inf"))
        >>> for k in 1, 4:  # the first layer becomes four times as sharp
        ...     loss = lambda: (k * model[0].weight ** 2 + 3 * model[1].weight ** 2).sum()
        ...     decision = scheduler.observe(scheduler.measure(loss))
        >>> decision.reason, [round(factor, 6) for factor in decision.factors]
        ('curvature', [0.5, 1.0])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        interval: int | None = None,
        warmup: int = 150,
        span: float = 0.12,
        reference_grid: int = 15,
        bias: Literal["zero", "match"] = "zero",
        seed: int = 0,
        gamma: float = 0.5,
        smoothing: float = 0.7,
        brake: float = 2.0,
        min_ratio: Bound = 0.05,
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
        sparse_stencil(span, reference_grid, 0)  # rejects bad numbers now rather than at the first probe
        parameters = repeatable(parameters)  # it is gone through at every probe
        moving = sum(map(bool, names_by_group(model, optimizer, bias, parameters)))
        self.reference_grid = reference_grid
        self.gamma = gamma
        self.smoothing = smoothing
        self._told = False
        self._log_curvatures: list[float | None] = []  # by group, as far as known; likewise
        self._references: list[float | None] = []
        super().__init__(
            optimizer,
            model,
            preset="corrected",
            span=span,
            bias=bias,
            seed=seed,
            brake=brake,
            parameters=parameters,
            engine=engine,
            batch_norm=batch_norm,
            interval=INTERVAL * max(1, moving) if interval is None else interval,
            warmup=warmup,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            inner=inner,
            history_size=history_size,
            on_error=on_error,
            last_epoch=last_epoch,
        )

    def finite(self, measurement: PerLayerTopoMeasurement) -> bool:
        """Tell whether all numbers of a measurement are finite.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            Whether it can be decided upon.
        """
        whole = measurement.loss, measurement.curvature, measurement.roughness
        return all(map(math.isfinite, [*whole, *measurement.groups]))

    def measure(self, closure: Callable[[], Tensor]) -> PerLayerTopoMeasurement:
        """Probe a random plane of each group through the current parameters.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            The measurement.
        """
        groups = names_by_group(self.model, self.optimizer, self.bias, self._parameters)
        reach = self.span * math.sqrt(max(1, sum(map(bool, groups))))
        found, different = measure_group_planes(
            self.model,
            closure,
            groups,
            sparse_stencil(reach, self.reference_grid, 0),
            bias=self.bias,
            seed=self.plane_seed,
            parameters=self._parameters,
            engine=self.engine,
            batch_norm=self.batch_norm,
        )
        self._probes += 1
        if not self._told and math.isfinite(found.loss) and not different:
            self._told = True
            warnings.warn(
                f"the loss is {found.loss:g} at all points of all planes: the closure does not depend on what the "
                "optimizer holds of the model given to PerLayerTopoLR, or that is 0 or cannot move. Compute the loss "
                "inside it, e.g. lambda: criterion(model(x), y); this is said once",
                RuntimeWarning,
                stacklevel=3,
            )
        return found

    def decide(self, measurement: PerLayerTopoMeasurement) -> str:
        """Update each group's factor by its own curvature.

        Args:
            measurement: What :meth:`measure` found.

        Returns:
            The reason.
        """
        if self.diverging(measurement.loss):
            self.scale(BRAKE)
            return "brake"
        missing = [None] * (len(measurement.groups) - len(self._references))
        self._references += missing
        self._log_curvatures += missing
        self.factors = self._current_factors()
        reasons = [self._follow(group, value) for group, value in enumerate(measurement.groups) if value > 0]
        return min(reasons, default="saddle")  # "curvature" where at least one group was set by it

    def _follow(self, group: int, curvature: float) -> str:
        newest, past, reference = math.log(curvature), self._log_curvatures[group], self._references[group]
        smoothed = self.smoothing * (newest if past is None else past) + (1 - self.smoothing) * newest
        self._log_curvatures[group] = smoothed
        if reference is None:
            self._references[group] = smoothed
            return "reference"
        exponent = min(self.gamma * (reference - smoothed), 700.0)  # beyond, exp overflows; the bounds are long reached
        self.factors[group] = self._clip(group, math.exp(exponent))
        return "curvature"

    def _record(self, numbers: dict[str, Any], reason: str) -> Decision:
        """Record the groups' curvature by name; whoever listens to the history gets plain numbers."""
        values = numbers.pop("groups", ())
        return super()._record({**numbers, **named_by_layer(self.optimizer.param_groups, values)}, reason)
