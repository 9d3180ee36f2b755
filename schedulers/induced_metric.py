"""The metric that a loss surface inherits from the space it is drawn in, and the factor on a step that follows."""

from __future__ import annotations

import math
from typing import Literal, TypeVar, get_args

from torch import Tensor

from ..landscape.ranks import Ranks

Embedding = Literal["identity", "log", "sqrt"]
Number = TypeVar("Number", float, Tensor)


def check_metric(xi: float, beta: float, embedding: str) -> None:
    """Reject a metric that is none.

    Args:
        xi: ξ.
        beta: Of the average.
        embedding: Name of f.

    Raises:
        ValueError: If one of them is out of range.
    """
    if not (math.isfinite(xi) and xi >= 0):
        raise ValueError(f"xi must be finite and not negative, got {xi}")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be at least 0 and below 1, got {beta}")
    if embedding not in get_args(Embedding):
        raise ValueError(f"embedding must be one of {', '.join(get_args(Embedding))}, got {embedding!r}")


def metric_factor(squared: Number, embedding: Embedding = "identity", loss: float | None = None) -> Number:
    """Compute the factor c by which the induced metric changes a step.

    The surface {(θ, √ξ·f(L(θ)))} has the metric γ = P⁻¹ + ξ·∇f∇fᵀ, so the natural gradient of f is
    γ⁻¹∇f = c·P∇L with S = ξ·∇LᵀP∇L and

    - identity, f = L: c = 1/(1 + S),
    - log, f = log L: c = L/(L² + S),
    - sqrt, f = √L: c = 2√L/(4L + S).

    In the norm of P⁻¹ the step η·c·P∇L is never longer than η/(2√ξ); it is so at S = 1, L² and 4L.

    Source: Harvey 2025, arXiv:2509.03594; the square root follows from the same construction.

    Args:
        squared: S, at least 0.
        embedding: f.
        loss: L, at least 0, for "log" and "sqrt".

    Returns:
        c; 0 where the loss is 0, which is the limit for S > 0.

    Raises:
        ValueError: If the loss is needed and missing.

    Example:
        >>> metric_factor(1.0), metric_factor(1.0, "log", 2.0), metric_factor(1.0, "sqrt", 4.0)
        (0.5, 0.4, 0.23529411764705882)
    """
    if embedding == "identity":
        return 1 / (1 + squared)
    if loss is None:
        raise ValueError(f"embedding={embedding!r} needs the loss")
    if loss == 0:
        return 0.0 * squared
    if embedding == "sqrt":
        return 2 * math.sqrt(loss) / (4 * loss + squared)
    return 1 / (loss + squared / loss)  # L² would vanish long before L does


def read_loss(loss: Tensor | float) -> float:
    """Read a loss.

    Args:
        loss: A number or a tensor with one element.

    Returns:
        The loss.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is a tensor with several elements.
    """
    if isinstance(loss, Tensor):
        if loss.numel() != 1:
            raise ValueError(f"loss must be one number, got a tensor of shape {tuple(loss.shape)}; reduce it first")
        loss = loss.detach().item()
    if isinstance(loss, bool) or not isinstance(loss, (int, float)):
        raise TypeError(f"loss must be a real number or a 0-d tensor, got {type(loss).__name__}")
    return float(loss)


def agreed_loss(loss: Tensor | float, ranks: Ranks | None = None) -> float:
    """Read a loss, the same on every rank: under torch.distributed the mean of theirs.

    Args:
        loss: As for :func:`read_loss`.
        ranks: Those that share it; all, by default.

    Returns:
        The loss.
    """
    every = (Ranks() if ranks is None else ranks).gather(read_loss(loss))
    return sum(every) / len(every)
