"""Momentum in the metric that the loss surface inherits from the space it is drawn in."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ..schedulers.induced_metric import Embedding
from ..schedulers.squared_norm import squared_norm
from .induced_metric import InducedMetric, check_options
from .parts import Part


class InducedMetricSGD(InducedMetric):
    """Descend the loss surface itself: steps shrink where it is steep, like a smooth kind of gradient clipping.

    For parameters with gradients g, at their k-th step (k-th of all for S)::

        buf ← m·buf + (1 − m)·g         m̂ = buf/(1 − m^k)
        S ← b·S + (1 − b)·ξ·Σg²         Ŝ = S/(1 − b^k)
        θ ← (1 − η·wd)·θ − η·c·m̂        c = 1/(1 + Ŝ)

    The sum runs over all groups: there is one metric. Decay is decoupled and not scaled by c. With b = m = wd = 0 no
    step is longer than η/(2√ξ), which a gradient of length 1/√ξ reaches; longer ones make shorter steps again.

    With an embedding f other than the identity, c = L/(L² + Ŝ) ("log") or 2√L/(4L + Ŝ) ("sqrt"), see
    :func:`~lrscape.schedulers.induced_metric.metric_factor`, the bound is the same, and each step needs the loss: a
    closure that returns it, or ``step(loss=loss)``. Near a minimum c rises as the loss falls, which acts as a schedule;
    on L = x²/2 with "log" it is 1/(L + 2ξ).

    Source: Harvey 2025, arXiv:2509.03594, and its public code, whose steps these are to rounding. Differences: several
    groups work; a negative loss is an error (there "log" ascends); "sqrt" and ``per_parameter`` are additions. ξ may
    differ between groups; b, embedding and per_parameter may not. State: one copy of the parameters.

    Args:
        params: As in torch.
        lr: η, a number or a tensor.
        momentum: m.
        xi: ξ; 0 leaves plain momentum.
        beta: b.
        weight_decay: wd.
        embedding: f: "identity", "log" or "sqrt".
        per_parameter: Take ξ/P for ξ, where P is how many numbers have a gradient.
        foreach: Update many tensors at a time, which takes another copy of them for a moment; False goes one by one.
        maximize: Ascend.

    Raises:
        TypeError: If a parameter is complex; at a step, if a gradient is sparse.
        ValueError: If an option is out of range; at a step, if the loss is missing, negative or not finite.

    Example:
        >>> import torch
        >>> p = torch.zeros(1, requires_grad=True)
        >>> optimizer = InducedMetricSGD([p], lr=1.0, momentum=0.0, beta=0.0)
        >>> for slope in (1.0, 10**0.5, 10.0, 1e4):
        ...     _ = p.data.zero_()
        ...     p.grad = torch.tensor([slope])
        ...     optimizer.step()
        ...     round(-p.item(), 5)
        0.90909
        1.58114
        0.90909
        0.001
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        momentum: float = 0.9,
        xi: float = 0.1,
        beta: float = 0.8,
        weight_decay: float = 0.0,
        *,
        embedding: Embedding = "identity",
        per_parameter: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_options(lr, weight_decay, momentum=momentum)
        defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "xi": xi,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults, beta=beta, embedding=embedding, per_parameter=per_parameter)

    def _squared(self, part: Part) -> Tensor:
        return squared_norm(part.gradients, part.whole)

    def _directions(self, part: Part) -> list[Tensor]:
        return self._momentum(part)


class InducedMetricLog(InducedMetricSGD):
    """Descend the surface of the logarithm of the loss; :class:`InducedMetricSGD` with embedding="log".

    θ ← (1 − η·wd)·θ − η·c·m̂ with c = L/(L² + Ŝ): far from a minimum a step in log L, and the closer, the larger c.

    Source: Harvey 2025, arXiv:2509.03594.

    Args:
        params: As in torch.
        lr: η, a number or a tensor.
        momentum: m.
        xi: ξ.
        beta: b.
        weight_decay: wd.
        per_parameter: Take ξ/P for ξ.
        foreach: As in :class:`InducedMetricSGD`.
        maximize: Ascend.

    Raises:
        TypeError: If a parameter is complex; at a step, if a gradient is sparse.
        ValueError: If an option is out of range; at a step, if the loss is missing, negative or not finite.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = InducedMetricLog([p], lr=1.0, momentum=0.0, beta=0.0)
        >>> loss = (p**2).sum() / 2
        >>> loss.backward()
        >>> optimizer.step(loss=loss)
        >>> round(1 - p.item(), 5)  # 1/(½ + 2ξ)
        1.42857
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.1,
        momentum: float = 0.9,
        xi: float = 0.1,
        beta: float = 0.8,
        weight_decay: float = 0.0,
        *,
        per_parameter: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum,
            xi,
            beta,
            weight_decay,
            embedding="log",
            per_parameter=per_parameter,
            foreach=foreach,
            maximize=maximize,
        )
