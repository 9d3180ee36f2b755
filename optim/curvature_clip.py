"""Gradient clipping that is stricter where the loss is sharp."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor
from torch.nn.utils import clip_grad_norm_


def curvature_aware_clip_(
    parameters: Tensor | Iterable[Tensor],
    curvature: float,
    max_norm: float = 1.0,
    *,
    reference: float = 1e4,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Clip gradients in place to a norm of max_norm/(1 + curvature/reference).

    Source: the draft "Homotopy learning rates" (2026), its function curvature_aware_clip, with κ and reference 1e4. As
    κ is in 1/loss, a threshold that does not depend on the loss's scale needs another pair: the sharpness that the
    optimizer feels and, as reference, the sharpness at which it is at its edge, c/η
    (:attr:`lrscape.landscape.PreconditionedSharpness.edge`), halve it at the edge.

    Differences from the published code: in place and with the norm returned, as torch's own; a negative curvature
    counts as none, and one that is not finite clips to nothing.

    Args:
        parameters: Whose gradients.
        curvature: κ, or a sharpness.
        max_norm: Threshold without curvature.
        reference: Curvature at which the threshold is half of that.
        norm_type: As in :func:`torch.nn.utils.clip_grad_norm_`.
        error_if_nonfinite: Likewise.
        foreach: Likewise.

    Returns:
        The norm of the gradients before clipping.

    Raises:
        ValueError: If ``max_norm`` is negative or ``reference`` not positive.

    Example:
        >>> import torch
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> curvature_aware_clip_(weight, 3e4).item()
        5.0
        >>> round(weight.grad.norm().item(), 4)
        0.25
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be 0 or more, got {max_norm}")
    if not (math.isfinite(reference) and reference > 0):
        raise ValueError(f"reference must be positive and finite, got {reference}")
    known = float(curvature) if math.isfinite(curvature) else math.inf
    limit = max_norm / (1 + max(known, 0.0) / reference)
    return clip_grad_norm_(
        parameters, limit, norm_type=norm_type, error_if_nonfinite=error_if_nonfinite, foreach=foreach
    )
