"""The induced metric around a diagonal preconditioner."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ..schedulers.induced_metric import Embedding
from ..schedulers.squared_norm import squared_norm
from .induced_metric import InducedMetric, check_options
from .parts import Part


class InducedMetricRMS(InducedMetric):
    """Adam in the induced metric: the preconditioner P of RMSProp, and the factor c that belongs to it.

    For parameters with gradients g, at their k-th step (k-th of all for S)::

        buf ← m·buf + (1 − m)·g              m̂ = buf/(1 − m^k)
        v ← b_r·v + (1 − b_r)·g²             v̂ = v/(1 − b_r^k)
        S ← b·S + (1 − b)·ξ·Σ g²/(√v̂ + ε)    Ŝ = S/(1 − b^k)
        θ ← (1 − η·wd)·θ − η·c·m̂/(√v̂ + ε)    c = 1/(1 + Ŝ)

    The sum runs over all groups. With ξ = 0 it is ``torch.optim.AdamW`` with betas (m, b_r). With b = m = wd = 0 no
    step is longer than η/(2√ξ) in the norm √Σ(√v̂ + ε)·Δ². Embeddings are those of :class:`InducedMetricSGD`.

    Since each g²/√v̂ is about |g|, the sum grows with the number P of parameters: the published sweeps end at
    ξ = 7.7e-9 on CIFAR, which switches the metric off. ``per_parameter=True`` takes ξ/P.

    Source: Harvey 2025, arXiv:2509.03594, and its public code, whose steps these are to rounding. State: two copies of
    the parameters.

    Args:
        params: As in torch.
        lr: η, a number or a tensor.
        momentum: m.
        xi: ξ.
        beta: b.
        beta_rms: b_r.
        weight_decay: wd.
        eps: ε.
        embedding: f: "identity", "log" or "sqrt".
        per_parameter: Take ξ/P for ξ, where P is how many numbers have a gradient.
        foreach: As in :class:`InducedMetricSGD`.
        maximize: Ascend.

    Raises:
        TypeError: If a parameter is complex; at a step, if a gradient is sparse.
        ValueError: If an option is out of range; at a step, if the loss is missing, negative or not finite.

    Example:
        >>> p = torch.zeros(1, requires_grad=True)
        >>> optimizer = InducedMetricRMS([p], lr=1.0)
        >>> (10 * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 5)  # −1/(1 + .1·10)
        -0.5
    """

    memory = ("momentum_buffer", "square_average")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        momentum: float = 0.9,
        xi: float = 0.1,
        beta: float = 0.8,
        beta_rms: float = 0.99,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
        *,
        embedding: Embedding = "identity",
        per_parameter: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_options(lr, weight_decay, momentum=momentum, beta_rms=beta_rms)
        if not (math.isfinite(eps) and eps > 0):
            raise ValueError(f"eps must be positive and finite, got {eps}")
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "xi": xi,
            "beta_rms": beta_rms,
            "weight_decay": weight_decay,
            "eps": eps,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults, beta=beta, embedding=embedding, per_parameter=per_parameter)

    def _squared(self, part: Part) -> Tensor:
        averages, share = part.states["square_average"], part.group["beta_rms"]
        torch._foreach_mul_(averages, share)
        torch._foreach_addcmul_(averages, part.gradients, part.gradients, 1 - share)
        roots = self._denominators(part)
        torch._foreach_sqrt_(roots)
        return squared_norm(torch._foreach_div(part.gradients, roots), part.whole)

    def _directions(self, part: Part) -> list[Tensor]:
        moves = self._momentum(part)
        torch._foreach_div_(moves, self._denominators(part))
        return moves

    @staticmethod
    def _denominators(part: Part) -> list[Tensor]:
        """Compute √v̂ + ε."""
        share = part.group["beta_rms"]
        roots = list(torch._foreach_sqrt(part.states["square_average"]))
        torch._foreach_div_(roots, [math.sqrt(1 - share**k) for k in part.steps])
        torch._foreach_add_(roots, part.group["eps"])
        return roots
