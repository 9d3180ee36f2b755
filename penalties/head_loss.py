"""What the cross-entropy of a linear classification head looks like from its logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class HeadLoss(NamedTuple):
    """The cross-entropy ℓ = −Σ_c t_c·log p_c of every position, as its curvature needs it.

    t_c = w_c·((1 − ε)·y_c + ε/C) carries class weights w and label smoothing ε, so that ℓ is torch's loss before the
    mean. The gradient of ℓ in the logits is s·p − t and its Hessian s·(diag p − p pᵀ), with the mass s = Σ_c t_c.
    The M = N·d1·… positions stand in rows. At ignored ones numbers are finite and mean nothing.

    Attributes:
        probabilities: p = softmax of the logits, (M, C), in single precision at least.
        residual: s·p − t, likewise.
        mass: s, (M,), or None for 1 everywhere.
        counted: Which positions are not ignored, (M,).
    """

    probabilities: Tensor
    residual: Tensor
    mass: Tensor | None
    counted: Tensor


def widen(tensor: Tensor) -> Tensor:
    """Convert to single precision at least: squares leave the range of half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def rows(tensor: Tensor) -> Tensor:
    """Put the positions of (N, C, d1, …) in rows: (M, C); free of cost where C is innermost in memory."""
    return tensor if tensor.dim() == 2 else tensor.movedim(1, -1).reshape(-1, tensor.shape[1])


def check_layout(logits: Tensor, features: Tensor) -> None:
    """Check that features stand at the positions of the logits.

    Args:
        logits: (N, C, d1, …).
        features: (N, F, d1, …).

    Raises:
        ValueError: If they do not.
    """
    if logits.dim() < 2:
        raise ValueError(f"logits must be (N, C) or (N, C, d1, …), got shape {tuple(logits.shape)}")
    if features.dim() != logits.dim() or (features.shape[:1], features.shape[2:]) != (
        logits.shape[:1], logits.shape[2:],
    ):  # fmt: skip
        raise ValueError(
            f"features must be (N, F, d1, …) at the positions of logits {tuple(logits.shape)}, got "
            f"{tuple(features.shape)}; for sequences laid out as (N, length, ·), transpose both by .transpose(1, 2)"
        )


def head_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> HeadLoss:
    """Describe the cross-entropy of logits by its first two derivatives in them.

    Args:
        logits: (N, C) or (N, C, d1, …).
        targets: Class indices (N, d1, …), or class probabilities of the shape of the logits.
        weight: Weight of each class, (C,).
        ignore_index: Class index of positions that do not count.
        label_smoothing: ε in [0, 1].

    Returns:
        Probabilities, residual, mass and which positions count.

    Raises:
        ValueError: If shapes do not fit or ε is out of range.
        TypeError: If targets are neither whole numbers nor floating-point probabilities.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing!r}")
    positions, classes = logits.shape[:1] + logits.shape[2:], logits.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"weight must hold one number per class, ({classes},), got shape {tuple(weight.shape)}")
    logits = widen(logits)
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            raise ValueError(
                f"targets of probabilities must have the shape of logits {tuple(logits.shape)}, got "
                f"{tuple(targets.shape)}; class indices must be whole numbers"
            )
        counted = torch.ones(positions.numel(), dtype=torch.bool, device=logits.device)
        flat, wanted = rows(logits), rows(targets).to(logits.dtype)
    elif targets.is_complex() or targets.dtype == torch.bool:
        raise TypeError(f"targets must be class indices or probabilities, got {targets.dtype}")
    else:
        if targets.shape != positions:
            raise ValueError(
                f"targets of class indices must have shape {tuple(positions)} for logits {tuple(logits.shape)}, got "
                f"{tuple(targets.shape)}"
            )
        chosen = targets.reshape(-1)
        counted = chosen != ignore_index
        # Padding may hold infinities, and 0 · ∞ would spoil the gradient.
        flat = torch.where(counted.unsqueeze(1), rows(logits), 0.0)
        wanted = torch.zeros_like(flat).scatter(1, torch.where(counted, chosen, 0).long().unsqueeze(1), 1.0)
    if label_smoothing:
        wanted = wanted * (1 - label_smoothing) + label_smoothing / classes
    probabilities = flat.softmax(1)
    if weight is None:
        # Soft targets need not add up to 1.
        mass = wanted.sum(1) if targets.is_floating_point() else None
    else:
        wanted = wanted * weight.to(wanted.dtype)
        mass = wanted.sum(1)
    scaled = probabilities if mass is None else mass.unsqueeze(1) * probabilities
    return HeadLoss(probabilities, scaled - wanted, mass, counted)


def squared_inputs(features: Tensor, bias: bool) -> Tensor:
    """Sum the squares of what the head's weights are multiplied with: |h|² + 1[bias] at each position, (M,)."""
    squares = squared_length(widen(rows(features)))
    return squares + 1 if bias else squares


def squared_length(vectors: Tensor) -> Tensor:
    """Sum the squares of each row."""
    return (vectors * vectors).sum(1)  # not square(), whose derivative takes longer


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Average (M,) over the counted positions; 0 if there are none."""
    return values.where(counted, 0.0).sum() / counted.sum().clamp_min(1)
