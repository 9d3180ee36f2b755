"""What theory promises of SGD under a schedule, the constant rate it likes best, and how long a warmup has to be."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def _checked(lrs: ArrayLike, delta: float, smoothness: float, sigma2: float) -> NDArray[np.float64]:
    rates = np.asarray(lrs, dtype=np.float64)
    if rates.ndim != 1 or not rates.size:
        raise ValueError(f"lrs must be the rate of each step, shape (steps,), got shape {rates.shape}")
    if not (np.isfinite(rates).all() and (rates >= 0).all() and rates.any()):
        raise ValueError("lrs must be finite and not negative, and not all 0")
    for name, value in (("delta", delta), ("smoothness", smoothness), ("sigma2", sigma2)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    return rates


def sgd_bound(lrs: ArrayLike, delta: float, smoothness: float, sigma2: float) -> float:
    """Bound the smallest expected squared gradient that SGD meets under a schedule.

    min_t E|∇f(θ_t)|² ≤ (Δ + (Lσ²/2)·Σ_t η_t²) / Σ_t η_t, for f with an L-Lipschitz gradient and unbiased gradients g_t
    with E|g_t|² ≤ σ².

    Source: the schedules chapter's lemma 6.2.1; compare Ghadimi and Lan 2013, arXiv:1309.5549. The chapter
    concludes from the numbers below that rates should fall in stages. They say the opposite: 10.1 is the least of the
    three, and by :func:`optimal_constant_lr` no schedule beats the best constant. The bound is silent about what
    decaying schedules are good for, the loss of the last iterate.

    Args:
        lrs: η_t, the rate of each step, shape (steps,); see :func:`planned_rates`.
        delta: Δ = f(θ_1) − min f.
        smoothness: L, the largest curvature.
        sigma2: σ², bound of the squared stochastic gradient.

    Returns:
        The bound.

    Raises:
        ValueError: If a number is out of range.

    Example:
        Δ = 100, Lσ²/2 = 1, a hundred steps: an aggressive rate, a cautious one, and the one after the other.

        >>> [round(sgd_bound(lrs, 100, 2, 1), 3) for lrs in ([0.1] * 100, [0.025] * 100, [0.1] * 50 + [0.025] * 50)]
        [10.1, 40.025, 16.085]
    """
    rates = _checked(lrs, delta, smoothness, sigma2)
    return float((delta + smoothness * sigma2 / 2 * np.square(rates).sum()) / rates.sum())


def sgd_bound_so_far(lrs: ArrayLike, delta: float, smoothness: float, sigma2: float) -> NDArray[np.float64]:
    """Compute :func:`sgd_bound` of a run that would stop after each step.

    Args:
        lrs: η_t, the rate of each step, shape (steps,).
        delta: Δ = f(θ_1) − min f.
        smoothness: L, the largest curvature.
        sigma2: σ², bound of the squared stochastic gradient.

    Returns:
        Shape (steps,); infinite as long as all rates were 0.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> sgd_bound_so_far([1.0, 1.0, 0.0], 2, 2, 1).tolist()
        [3.0, 2.0, 2.0]
    """
    rates = _checked(lrs, delta, smoothness, sigma2)
    covered = rates.cumsum()
    noise = smoothness * sigma2 / 2 * np.square(rates).cumsum()
    bounds: NDArray[np.float64] = np.full_like(covered, np.inf)
    np.divide(delta + noise, covered, out=bounds, where=covered > 0)
    return bounds


def optimal_constant_lr(steps: int, delta: float, smoothness: float, sigma2: float) -> float:
    """Compute the rate that minimises :func:`sgd_bound` among all schedules of a given length.

    η* = √(2Δ/(Lσ²T)), with the bound √(2ΔLσ²/T). With S = Ση, Cauchy and Schwarz give Ση² ≥ S²/T with equality for
    equal rates only, so no schedule of T steps has a smaller bound.

    Args:
        steps: T.
        delta: Δ = f(θ_1) − min f.
        smoothness: L, the largest curvature.
        sigma2: σ², bound of the squared stochastic gradient.

    Returns:
        η*.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> optimal_constant_lr(100, 100, 2, 1), sgd_bound([1.0] * 100, 100, 2, 1)
        (1.0, 2.0)
    """
    _positive(steps=steps, delta=delta, smoothness=smoothness, sigma2=sigma2)
    return math.sqrt(2 * delta / smoothness / sigma2 / steps)


def min_warmup_steps(lr: float, smoothness: float) -> int:
    """Compute the shortest linear warmup whose first step is stable.

    η/W < 2/L ⇔ W > η·L/2, so W = ⌊η·L/2⌋ + 1. L is the curvature at the start, where it counts: the largest eigenvalue
    that :func:`lrscape.landscape.top_eigenvalues` measures. For Adam take the preconditioned sharpness.

    Source: the schedules chapter, section 6.4.

    Args:
        lr: η, the rate after the warmup.
        smoothness: L at the start of training, loss per unit².

    Returns:
        W, at least 1; 1 means that no warmup is needed.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> min_warmup_steps(0.1, 1000), min_warmup_steps(0.5, 8), min_warmup_steps(0.1, 10)
        (51, 3, 1)
    """
    _positive(lr=lr, smoothness=smoothness)
    return math.floor(Fraction(lr) * Fraction(smoothness) / 2) + 1  # exact: rounding must not hit the edge itself
