"""The exact curvature of a linear classification head."""

from __future__ import annotations

import torch
from torch import Tensor

from .head_loss import check_layout, head_loss, mean_over, rows, squared_inputs, squared_length, widen


def head_hessian_trace(
    logits: Tensor,
    features: Tensor,
    targets: Tensor | None = None,
    *,
    bias: bool = True,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute the trace of the Hessian of the mean cross-entropy in the head's weights and bias.

    tr H = Σ_i s_i·(1 − |p_i|²)·(|h_i|² + 1[bias]) / n

    It follows from H = mean_i s_i·(diag p_i − p_i p_iᵀ) ⊗ h̃_i h̃_iᵀ, h̃ = (h, 1). n is what torch's mean divides by: the
    number of positions, or their summed class weights. Without weights s_i = 1, and targets matter only for what they
    ignore. Unlike SASP's R, which is 0 wherever the labels are fitted with certainty and large where a confident
    prediction is wrong, this is the curvature itself. May be used as a penalty: it is differentiable.

    Args:
        logits: Output of the head, (N, C) or (N, C, d1, …).
        features: Its input, (N, F) or (N, F, d1, …).
        targets: Class indices (N, d1, …), or probabilities of the shape of the logits; needed with class weights, and
            where positions are ignored.
        bias: Whether the head has a bias.
        weight: Weight of each class, (C,).
        ignore_index: Class index of positions that do not count.
        label_smoothing: In [0, 1]; matters together with class weights only.

    Returns:
        The trace, 0-d, in single precision at least.

    Raises:
        ValueError: If shapes do not fit, or weights are given without targets.

    Example:
        >>> import torch
        >>> head_hessian_trace(torch.zeros(1, 2), torch.tensor([[2.0]]))  # (1 − 1/2)·(4 + 1)
        tensor(2.5000)
    """
    check_layout(logits, features)
    if targets is None:
        if weight is not None:
            raise ValueError("targets are needed with a weight per class: give them, or leave out weight")
        spread = 1 - squared_length(widen(rows(logits)).softmax(1))
        return (spread * squared_inputs(features, bias)).mean()
    head = head_loss(logits, targets, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)
    spread = 1 - squared_length(head.probabilities)
    traces = (spread if head.mass is None else spread * head.mass) * squared_inputs(features, bias)
    mean = mean_over(traces, head.counted)
    if weight is None or targets.is_floating_point():
        return mean
    divisors = weight.to(mean.dtype)[targets.reshape(-1).where(head.counted, 0).long()]
    return mean / mean_over(divisors, head.counted).clamp_min(torch.finfo(mean.dtype).tiny)
