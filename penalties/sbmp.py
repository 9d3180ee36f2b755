"""Consistency of predictions under a small perturbation of the input."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .head_loss import widen


def sign_noise(
    embeddings: Tensor,
    alpha: float = 5.0,
    *,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Move every number of the embeddings up or down by the same amount, at random.

    Ê = E + α/√(L·d)·ξ, ξ ∈ {±1}; without positions, α/√d. The perturbation of an example has norm α.

    Sources: SBMP, Patil 2026, doi:10.5281/zenodo.20480620, after NEFTune (arXiv:2310.05914) and SymNoise
    (arXiv:2312.01523).

    Args:
        embeddings: E, (B, d), (B, L, d) or, for images and the like, (B, …), where L·d is the size of an example.
        alpha: α, in units of the embeddings.
        mask: Which positions are no padding, (B, L): padding stays as it is, and L counts the others.
        generator: Of the signs, on the device of the embeddings; torch's own if None.

    Returns:
        Ê, with the shape and kind of E.

    Raises:
        ValueError: If shapes do not fit or α is negative.

    Example:
        >>> (sign_noise(torch.zeros(2, 4, 4), alpha=5.0).abs() == 1.25).all().item()
        True
    """
    if not alpha >= 0:
        raise ValueError(f"alpha must be at least 0, got {alpha!r}")
    if embeddings.dim() < 2 or not embeddings.is_floating_point():
        raise ValueError(f"embeddings must be real, (B, d) or (B, L, d), got {tuple(embeddings.shape)}")
    shape = embeddings.shape
    signs = torch.randint(0, 2, shape, generator=generator, device=embeddings.device, dtype=torch.int8) * 2 - 1
    if mask is None:
        return embeddings + (alpha / math.sqrt(max(1, math.prod(shape[1:])))) * signs.to(embeddings.dtype)
    if embeddings.dim() != 3 or mask.shape != shape[:2]:
        raise ValueError(f"mask must be (B, L) for embeddings (B, L, d), got {tuple(mask.shape)} for {tuple(shape)}")
    present = mask.to(torch.bool)
    lengths = present.sum(1).clamp_min(1).reshape(-1, 1, 1)
    scale = alpha / (lengths * shape[2]).to(torch.float32).sqrt()
    return embeddings + (scale * signs * present.unsqueeze(2)).to(embeddings.dtype)


def sbmp(logits: Tensor, perturbed: Tensor, counted: Tensor | None = None) -> Tensor:
    """Compute how far predictions move, from both sides.

    R = mean_i [ ½·KL(sg p ‖ p̂) + ½·KL(sg p̂ ‖ p) ]

    Its value is half the symmetric divergence; its gradient pulls each prediction towards the other one, held still.

    Source: SBMP, Patil 2026, doi:10.5281/zenodo.20480620.

    Args:
        logits: Of the clean input, (N, C) or (N, C, d1, …).
        perturbed: Of the perturbed one, the same shape.
        counted: Which positions count, (N, d1, …); all if None.

    Returns:
        R ≥ 0, 0-d, in single precision at least; 0 if nothing counts. The published coefficient is λ = 1.

    Raises:
        ValueError: If shapes differ.

    Example:
        >>> sbmp(torch.zeros(1, 2), torch.tensor([[0.0, 4.0]]))  # (p − ½)·4/2 with p = σ(4)
        tensor(0.9640)
    """
    if logits.dim() < 2 or logits.shape != perturbed.shape:
        raise ValueError(
            f"perturbed must have the shape of logits, (N, C) or (N, C, d1, …), got {tuple(perturbed.shape)} and "
            f"{tuple(logits.shape)}"
        )
    if counted is not None:
        if counted.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(f"counted must be (N, d1, …) for logits {tuple(logits.shape)}, got {tuple(counted.shape)}")
        counted = counted.to(torch.bool)
        logits, perturbed = (values.where(counted.unsqueeze(1), 0.0) for values in (logits, perturbed))
    clean, moved = widen(logits).log_softmax(1), widen(perturbed).log_softmax(1)
    at_positions = (_divergence(clean, moved) + _divergence(moved, clean)) / 2
    return at_positions.mean() if counted is None else at_positions.sum() / counted.sum().clamp_min(1)


def _divergence(held: Tensor, free: Tensor) -> Tensor:
    """Compute KL(sg p ‖ q) of logarithms at each position; what a class masked by −∞ adds is 0, not NaN."""
    p = held.detach()
    return (p.exp() * (p - free)).where(p > -torch.inf, 0.0).sum(1)


class SBMP(nn.Module):
    """Perturb embeddings and compare the predictions.

    R = mean_i [ ½·KL(sg p ‖ p̂) + ½·KL(sg p̂ ‖ p) ], p̂ from E + α/√(L·d)·ξ

    Source: Patil 2026, doi:10.5281/zenodo.20480620. Costs one more pass through what follows the embeddings. Dropout
    draws anew in that pass, which then counts as a perturbation too.

    Args:
        alpha: α, in units of the embeddings.
        ignore_index: Class index of positions that do not count.

    Raises:
        ValueError: If α is negative.

    Example:
        >>> head = nn.Linear(3, 2)
        >>> SBMP(alpha=0.0)(head, torch.ones(4, 3)).item()
        0.0
    """

    def __init__(self, alpha: float = 5.0, *, ignore_index: int = -100) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha must be at least 0, got {alpha!r}")
        self.alpha = alpha
        self.ignore_index = ignore_index

    def forward(
        self,
        head: Callable[[Tensor], Tensor],
        embeddings: Tensor,
        logits: Tensor | None = None,
        *,
        targets: Tensor | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute R.

        Args:
            head: What makes logits, (N, C) or (N, C, d1, …), of embeddings: the rest of the model.
            embeddings: (B, d) or (B, L, d).
            logits: Those of the embeddings as they are; computed if None.
            targets: Class indices (N, d1, …); positions at the ignored index do not count.
            mask: Which positions are no padding, (B, L); they get no noise.
            generator: Of the signs.

        Returns:
            R, 0-d.
        """
        clean = head(embeddings) if logits is None else logits
        perturbed = head(sign_noise(embeddings, self.alpha, mask=mask, generator=generator))
        counted = None
        if targets is not None and not targets.is_floating_point():
            counted = targets.ne(self.ignore_index)
        return sbmp(clean, perturbed, counted)
