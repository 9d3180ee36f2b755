"""PerLayerHomotopyLR: sharp layers take smaller steps than flat ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Unpack

from torch import Tensor, nn
from torch.optim import Optimizer

from .curvature import CurvatureLR, CurvatureOptions
from .curvature_measurement import shares
from .history import Decision
from .layer_groups import named_by_layer
from .per_layer_measurement import PerLayerMeasurement, measure_group_kappa, measure_group_sharpness

INTERVAL = 60  # per eigenvalue that is measured, of which there are one per group and one of the whole


class PerLayerHomotopyLR(CurvatureLR):
    r"""Give each parameter group a rate by its own curvature; make the groups by :func:`layer_param_groups`.

    **criterion="sharpness" (default).** With λ_l the smoothed sharpness of group l's block of P⁻¹H (P of the optimizer,
    without rates),

        factor_l = t·min(max_ratio, median(λ)/λ_l),

    so that a layer of median sharpness keeps the plain rate. t ≤ 1 keeps the whole below the edge: scaling rates by d_l
    multiplies its sharpness by max d_l at most, so with the whole's smoothed sharpness s at the rates of the time,

        t = min(1, margin·c / (η·s·max_l d_l)),   d_l = new rate of l without t / present rate of l.

    That is exact once the factors have settled.

    **criterion="kappa".** 1/(1 + κ_l/median(κ)) with κ of each block, as published. By the paper's text the median
    keeps its rate; by this formula it gets half of it.

    A probe costs a few products for each group: by default there is one every 60·(groups + 1) steps ("kappa": at every
    step, as published).

    Differences from the published code: see :class:`HomotopyLR`. There every module with parameters counts, those that
    hold other modules too; here each parameter belongs to one group.

    ============  ===================================================
    reason        what it means
    ============  ===================================================
    layers        rates by the layers' curvature
    edge          the same, and the whole lowered by t
    saddle        no upward curvature: everything stays
    non-finite    NaN or infinity: × .8, and warns once
    ============  ===================================================

    Source: the draft "Homotopy learning rates" (2026), its class PerLayerHomotopyLR. The history has the groups'
    curvature under "layer …", or "group i" where a group does not name its layer.

    Args:
        optimizer: See :class:`CurvatureLR`.
        model: Likewise.
        **options: Those of :class:`CurvatureLR`; ``max_ratio``, how much more a flat layer may take, is 4 by default.

    Raises:
        TypeError: As :class:`CurvatureLR`.
        ValueError: Likewise.

    Example:
        >>> import torch
        >>> from lrscape.schedulers import layer_param_groups
        >>> model = nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(3)])
        >>> scheduler = PerLayerHomotopyLR(torch.optim.SGD(layer_param_groups(model, lr=0.01)), model)
        >>> loss = lambda: sum(k * (layer.weight ** 2).sum() for k, layer in zip([1, 2, 8], model)) / 2
        >>> [round(factor, 6) for factor in scheduler.probe(loss).factors]
        [2.0, 1.0, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        **options: Unpack[CurvatureOptions],
    ) -> None:
        self._vectors: list[Tensor | None] = []
        self._blocks: list[float] = []  # smoothed sharpness by group, 0 where unknown
        chosen: CurvatureOptions = {"max_ratio": 4.0, **options}
        if options.get("interval") is None and options.get("criterion", "sharpness") == "sharpness":
            chosen["interval"] = INTERVAL * (len(getattr(optimizer, "param_groups", ())) + 1)
        super().__init__(optimizer, model, **chosen)

    def finite(self, measurement: PerLayerMeasurement) -> bool:
        """Tell whether all numbers of a measurement are finite.

        Args:
            measurement: What :meth:`measure` returned.

        Returns:
            Whether it can be decided upon.
        """
        values = asdict(measurement)
        return all(map(math.isfinite, [*values.pop("groups"), *values.values()]))

    def measure(self, closure: Callable[[], Tensor]) -> PerLayerMeasurement:
        """Measure the curvature of each group's block, leaving no trace.

        Args:
            closure: Returns the loss as a 0-d tensor and does nothing else.

        Returns:
            The measurement.
        """
        seed, options = (self.seed, self._probes), self.hessian_options
        if self.criterion == "kappa":
            found = measure_group_kappa(
                self.model, closure, self.measured_optimizer, method=self.method, seed=seed, **options
            )
            self._probes += 1
            return found
        found, vectors = measure_group_sharpness(
            self.model,
            closure,
            self.measured_optimizer,
            tolerance=self.tolerance,
            max_hvps=self.max_hvps,
            starts=self._vectors,
            seed=seed,
            **options,
        )
        self._probes += 1
        if self.finite(found):
            self._vectors = vectors
        return found

    def _record(self, numbers: dict[str, Any], reason: str) -> Decision:
        """Record the groups' curvature by name; whoever listens to the history gets plain numbers."""
        values = numbers.pop("groups", ())
        return super()._record({**numbers, **named_by_layer(self.optimizer.param_groups, values)}, reason)

    def decide_kappa(self, measurement: PerLayerMeasurement) -> str:
        """Apply the published rule.

        Args:
            measurement: What was measured.

        Returns:
            "layers".
        """
        usual = _median(measurement.groups)
        self.want(*(1 / (1 + value / usual) for value in measurement.groups))
        return "layers"

    def decide_sharpness(self, measurement: PerLayerMeasurement) -> str:
        """Give each group its factor, below the edge of the whole.

        Args:
            measurement: What was measured.

        Returns:
            "layers" or "edge".
        """
        ratios = self._ratios(measurement.groups)
        plain = [float(rate) if measurement.rate > 0 else 1.0 for rate in self._rates.current_plain()]
        desired = [rate * ratio for rate, ratio in zip(plain, ratios, strict=True)]
        present = shares(self.optimizer, measurement.rate)
        largest = max(rate / share for rate, share in zip(desired, present, strict=True) if share > 0)
        t = self.edge_rate(measurement.sharpness + measurement.residual, measurement.edge) / largest
        self._limits = [t * rate for rate in desired]
        return "edge" if self.want(*ratios) else "layers"

    def _ratios(self, newest: Sequence[float]) -> list[float]:
        """Compare the smoothed sharpness of groups with its median; 0 is all that is known where nothing counts."""
        past, w = [*self._blocks, *newest[len(self._blocks) :]], self.memory
        self._blocks = [
            old**w * new ** (1 - w) if old > 0 and new > 0 else new for old, new in zip(past, newest, strict=True)
        ]
        usual = _median(self._blocks)
        tops = [self._clip(i, math.inf) for i in range(len(self._blocks))]
        return [
            1.0 if value == 0 else min(top, usual / value) if value > 0 else top
            for value, top in zip(self._blocks, tops, strict=True)
        ]


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if value > 0]
    return median(known) if known else 1.0
