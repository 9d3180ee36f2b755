"""HomotopyAdam: Adam that measures the curvature and steers its own learning rate."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.optimizer import ParamsT

from ..schedulers import HomotopyLR
from ..schedulers.checks import Bound
from ..schedulers.curvature import Criterion
from ..schedulers.curvature_measurement import KappaMeasurement
from .steered import Steered


class _DirectHomotopyLR(HomotopyLR):
    """HomotopyLR with the rule of the published Adam, which smooths nothing and knows no threshold."""

    published_interval = 1

    def decide_kappa(self, measurement: KappaMeasurement) -> str:
        self.want(1 / (1 + measurement.kappa / self.target))
        return "high kappa" if measurement.kappa > self.target else "low kappa"


class HomotopyAdam(Steered, Adam):
    r"""Run Adam with learning rates held below its edge of stability.

    θ ← Adam step with rates η_i·f_i. **criterion="sharpness" (default)**: η_i·f_i ≤ margin·c/s with s the smoothed
    λ_max(P⁻¹H), P = diag(√v̂ + ε) from this optimizer's own state and c = (2 + 2β₁)/(1 − β₁), 38 for β₁ = .9; see
    :class:`~lrscape.schedulers.HomotopyLR`, which decides. **criterion="kappa"**: f = 1/(1 + κ/target) with the newest
    κ, measured at every step, as published.

    It is a ``torch.optim.Adam``. ``param_groups`` hold the plain rates, which any torch scheduler may set; with a
    cosine on top, each step takes the smaller of cosine rate and limit. Measure by :meth:`probe`, or by giving
    ``step`` the batch. Call ``probe`` before the first step to protect that step too.

    Source: the draft "Homotopy learning rates" (2026), its class HomotopyAdam. Differences: the criterion; the groups'
    own rates are multiplied, not overwritten; what is measured after a step counts from the next step on.

    Args:
        params: As in Adam.
        model: The model that the parameters belong to.
        lr: As in Adam: the largest rate to take; ``max_lr_ratio`` raises it.
        criterion: "sharpness" or "kappa".
        margin: Share of the edge that rates may reach.
        target: For "kappa".
        interval: Steps between probes; by default 200, for "kappa" 1.
        warmup_steps: Steps before the first probe.
        max_lr_ratio: Upper bound of the factor, one number or one per group.
        min_lr_ratio: Lower bound.
        seed: Of the random vectors.
        verbose: Log decisions to the logger "lrscape", at level INFO.
        homotopy: Further options of :class:`~lrscape.schedulers.HomotopyLR`.
        **options: Further options of Adam: betas, eps, weight_decay, amsgrad, foreach, fused, ….

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> optimizer = HomotopyAdam(model.parameters(), model, lr=100.0, betas=(0.5, 0.999), eps=0.0)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> decision = optimizer.probe(lambda: (model.weight ** 2).sum())  # P = |g| = 2, H = 2, c = 6, margin ¼
        >>> round(decision.rates[0], 4), optimizer.param_groups[0]["lr"]
        (1.5, 100.0)
    """

    def __init__(
        self,
        params: ParamsT,
        model: nn.Module,
        lr: float | Tensor = 1e-3,
        *,
        criterion: Criterion = "sharpness",
        margin: float = 0.25,
        target: float = 1e4,
        interval: int | None = None,
        warmup_steps: int = 0,
        max_lr_ratio: Bound = 1.0,
        min_lr_ratio: Bound = 1e-12,
        seed: int = 0,
        verbose: bool = False,
        homotopy: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(params, lr=lr, **options)
        chosen = {
            "criterion": criterion,
            "margin": margin,
            "target": target,
            "interval": interval,
            "warmup": warmup_steps,
            "max_ratio": max_lr_ratio,
            "min_ratio": min_lr_ratio,
            "seed": seed,
            **(homotopy or {}),
        }
        self.steer(model, lambda groups: _DirectHomotopyLR(groups, model, **chosen), log=verbose)
