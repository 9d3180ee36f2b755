"""HomotopyLR: the learning rate stays below the edge of stability."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

from torch import nn
from torch.optim import Optimizer

from .curvature import CurvatureLR, CurvatureOptions
from .curvature_checks import check_positive
from .curvature_measurement import KappaMeasurement, SharpnessMeasurement
from .rates import read_rate, write_rate


def published_factor(kappa: float, target: float = 1e4, alpha: float = 1.0) -> float:
    """Apply the paper's rule, 1/(1 + α·max(0, κ/κ_target − 1)).

    Source: the draft "Homotopy learning rates" (2026), its class HomotopyLR; the text there has 1/(1 + α·κ/κ_target).

    Args:
        kappa: κ, in 1/loss.
        target: κ_target.
        alpha: α.

    Returns:
        The factor on the rate, at most 1.

    Example:
        >>> published_factor(3e4), published_factor(5e3)
        (0.3333333333333333, 1.0)
    """
    return 1 / (1 + alpha * max(0.0, kappa / target - 1))


class HomotopyLR(CurvatureLR):
    r"""Hold the learning rate below the edge of stability, as measured every ``interval`` steps.

    **criterion="sharpness" (default).** η ≤ margin·c/s, with s the smoothed sharpness λ_max(P⁻¹H) and c/λ the edge of
    the optimizer at hand; see :class:`CurvatureLR`. Give the optimizer a rate as high as you like to try, or
    ``max_ratio`` above 1: where the loss is sharp at the beginning, the rate starts low and rises along the edge, which
    is a warmup that nobody has set. For plain gradient descent a loss ten times as large lowers the limit to a tenth;
    for Adam and kin, whose P grows with the gradients, it changes nothing, as it should.

    **criterion="kappa".** κ̄ ← .9·κ̄ + .1·κ from κ̄ = κ_target on, every 10 steps, and the factor of
    :func:`published_factor`. A loss ten times as large has a tenth of the κ, so the rate *rises*; and κ grows without
    bound as the gradient vanishes, so this is a decay at the end of training and no warmup.

    Differences of both from the published code: the groups' own rates are multiplied, not overwritten; the state holds
    numbers and the eigenvector, no model; nothing of the model's changes; the loss is given as a closure.

    The natural place of ``probe`` is before the optimizer's step, since the first probe, before any step, protects
    that very step. A probe costs a gradient and mostly two to four Hessian-vector products: measured, 5 training steps
    for a CNN and 9 for a transformer.

    ============  ===================================================
    reason        what it means
    ============  ===================================================
    edge          the rate is held at margin·c/s
    free          the rate that is asked for is below the edge
    saddle        no upward curvature: everything stays
    high kappa    κ̄ > κ_target: the rate is lowered
    low kappa     κ̄ ≤ κ_target
    non-finite    NaN or infinity: × .8, and warns once
    ============  ===================================================

    Source: the draft "Homotopy learning rates" (2026). Following measured sharpness: Roulet et al. 2024
    (arXiv:2407.06183), who warn that rates well below the edge let the sharpness grow on.

    Args:
        optimizer: See :class:`CurvatureLR`.
        model: Likewise.
        target: κ_target; for "kappa" only.
        alpha: α; likewise.
        **options: Those of :class:`CurvatureLR`.

    Raises:
        TypeError: As :class:`CurvatureLR`.
        ValueError: Likewise.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> scheduler = HomotopyLR(torch.optim.SGD(model.parameters(), lr=9.0), model)
        >>> decision = scheduler.probe(lambda: 2.0 * (model.weight ** 2).sum())  # sharpness 4, edge 2/4, margin ¼
        >>> decision.reason, round(decision.rates[0], 6)
        ('edge', 0.125)
    """

    published_interval: ClassVar[int] = 10

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        target: float = 1e4,
        alpha: float = 1.0,
        **options: Unpack[CurvatureOptions],
    ) -> None:
        check_positive(target=target, alpha=alpha)
        self.target = target
        self.alpha = alpha
        self._kappa = target
        super().__init__(optimizer, model, **options)

    def decide_sharpness(self, measurement: SharpnessMeasurement) -> str:
        """Take as much as the edge allows.

        Args:
            measurement: What was measured.

        Returns:
            "edge" or "free".
        """
        self.keep_below_edge(measurement)
        return "edge" if self.want(math.inf) else "free"

    def decide_kappa(self, measurement: KappaMeasurement) -> str:
        """Apply the published rule to the smoothed κ.

        Args:
            measurement: What was measured.

        Returns:
            "high kappa" or "low kappa".
        """
        self._kappa = self.smoothing * self._kappa + (1 - self.smoothing) * measurement.kappa
        self.want(published_factor(self._kappa, self.target, self.alpha))
        return "high kappa" if self._kappa > self.target else "low kappa"


def CurvatureAdaptiveLR(  # noqa: N802  the paper's name, which reads like a class
    optimizer: Optimizer,
    model: nn.Module,
    base_lr: float | None = None,
    curvature_target: float = 1e3,
    adaptation_rate: float = 0.1,
    **options: Unpack[CurvatureOptions],
) -> HomotopyLR:
    """Make a HomotopyLR by the names of the paper's first interface.

    Source: the draft "Homotopy learning rates" (2026), its first example, where the target is called a condition
    number and the rate of adaptation is not defined; here it is the weight of the newest κ in its average.

    Args:
        optimizer: See :class:`HomotopyLR`.
        model: Likewise.
        base_lr: New rate of the group with the largest one; those of the others keep their ratio to it. None leaves
            the optimizer's rates.
        curvature_target: κ_target.
        adaptation_rate: 1 − smoothing.
        **options: Those of :class:`HomotopyLR`, with criterion="kappa" by default.

    Returns:
        The scheduler.

    Raises:
        TypeError: As :class:`HomotopyLR`.
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1)
        >>> made = CurvatureAdaptiveLR(torch.optim.SGD(model.parameters(), lr=1.0), model, base_lr=1e-4)
        >>> made.target, made.smoothing, made.get_last_lr()
        (1000.0, 0.9, [0.0001])
    """
    if not 0 < adaptation_rate <= 1:
        raise ValueError(f"adaptation_rate must be above 0 and at most 1, got {adaptation_rate}")
    if base_lr is not None:
        check_positive(base_lr=base_lr)
        largest = max(float(group["lr"]) for group in optimizer.param_groups)
        if not largest > 0:
            raise ValueError(
                f"the largest rate of the optimizer's groups must be above 0 to keep ratios, got {largest}"
            )
        for group in optimizer.param_groups:
            write_rate(group, read_rate(group) * (base_lr / largest))
            if "initial_lr" in group:
                group["initial_lr"] = group["initial_lr"] * (base_lr / largest)
    chosen: CurvatureOptions = {"criterion": "kappa", "smoothing": 1 - adaptation_rate, **options}
    return HomotopyLR(optimizer, model, target=curvature_target, **chosen)
