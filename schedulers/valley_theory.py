"""When the iterate stands above its running average: a noisy quadratic with a drift, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

PER_WINDOW = 0.5  # growth of log η in one window 1/w of the average
SMOOTHED = 0.5  # heights are smoothed over this part of a window
CLIMBED = 2.0  # the sign changes at twice the rate of fastest progress, at most


@dataclass(frozen=True, eq=False)
class Coefficients:
    """What a moving average of the iterate makes of noise and of drift, in units of the newest rate η.

    Attributes:
        noise: A, with E[x² − x̄²] = A·η²·σ² for a coordinate x across the valley and x̄ its average.
        drift: B, with s − s̄ = B·η·g for the coordinate s along the valley, which moves by η·g a step.
    """

    noise: float
    drift: float

    def height(self, rate: float, slope: float, curvature: float, variance: float) -> float:
        """Compute E[L(θ) − L(θ̄)] = ½·A·η²·tr(HΣ) − B·η·|g|² for L = ½·h·x² − g·s.

        Args:
            rate: η, the rate of the next step.
            slope: |g|², squared slope along the valley, loss² per unit².
            curvature: h across the valley, loss per unit².
            variance: σ² of the gradient's noise, loss² per unit².

        Returns:
            The expected height, in units of the loss.
        """
        return 0.5 * self.noise * rate**2 * curvature * variance - self.drift * rate * slope

    def turning_rate(self, slope: float, curvature: float, variance: float) -> float:
        """Compute the rate at which the height changes sign, 2·B/A times |g|²/tr(HΣ).

        Args:
            slope: As in :meth:`height`.
            curvature: Likewise.
            variance: Likewise.

        Returns:
            The rate.
        """
        return self.overshoot * slope / (curvature * variance)

    @property
    def overshoot(self) -> float:
        """2·B/A: how far beyond |g|²/tr(HΣ), the rate of fastest progress in one step, the height changes sign."""
        return 2 * self.drift / self.noise


def coefficients(weight: float, growth: float = 1.0, contraction: float = 1.0) -> Coefficients:
    r"""Compute what a running average sees while the rate grows geometrically.

    The iterate across the valley is x_{t+1} = a·x_t + η_t·ξ_t with η_t ∝ ρ^t; its average is
    x̄_{t+1} = q·x̄_t + w·x_{t+1}, q = 1 − w. A step k ago weighs ρ^{−k}·a^{k−1} in x and
    ρ^{−k}·w·(a^k − q^k)/(a − q) in x̄, so with S(z) = Σ_k ρ^{−2k} z^k = z/(ρ² − z)

        A = S(a²)/a² − (w/(a − q))²·(S(a²) − 2·S(a·q) + S(q²)),        B = q/(ρ − q).

    **Rates that grow** faster than the walls answer (ηh ≪ ln ρ, a = 1): with γ = ln ρ ≪ 1 and r = γ/w

        2·B/A = 2/(1 + r) / (2/(1 + 2r) − 1/(2 + 2r)),

    a function of the growth *per window* alone. One step makes the progress η·|g|² − ½·η²·tr(HΣ), the most at
    η* = |g|²/tr(HΣ), none at 2·η*. So the ascent that stops where the height turns positive stops at 4/3·η* for r → 0,
    at 2·η* for r = ½, and beyond the point where a step gains anything for larger r: growth per window must not exceed
    √e. **A constant rate** (ρ = 1, a = 1 − ηh) gives the height of the noise floor over its average instead.

    Derived here, for the picture of Wen et al. 2024, arXiv:2410.05192.

    Args:
        weight: w, of the newest iterate in the average.
        growth: ρ, of the rate per step.
        contraction: a = 1 − ηh, of the distance from the floor per step, from 0 to 1.

    Returns:
        A and B.

    Raises:
        ValueError: If a number is out of range, or neither growth nor contraction bounds the noise.

    Example:
        >>> round(coefficients(1e-4, math.exp(0.5e-4)).overshoot, 3)
        2.0
    """
    if not 0 < weight < 1:
        raise ValueError(f"weight must be above 0 and below 1, got {weight}")
    if not 0 < contraction <= 1:
        raise ValueError(f"contraction must be above 0 and at most 1, got {contraction}")
    if not growth >= 1 or growth == contraction:
        raise ValueError(
            f"growth must be at least 1, and above 1 where nothing contracts, got growth {growth} and contraction "
            f"{contraction}"
        )
    q = 1 - weight

    def total(z: float) -> float:
        return z / (growth**2 - z)

    if math.isclose(contraction, q, rel_tol=1e-9):  # the two decays coincide: w·k·q^(k−1) instead of the quotient
        z = q**2 / growth**2
        averaged = weight**2 / q**2 * z * (1 + z) / (1 - z) ** 3
    else:
        shares = total(contraction**2) - 2 * total(contraction * q) + total(q**2)
        averaged = (weight / (contraction - q)) ** 2 * shares
    return Coefficients(total(contraction**2) / contraction**2 - averaged, q / (growth - q))


def window_weight(growth: float) -> float:
    """Choose the average's weight so that the rate grows by √e in one window, whatever the speed: w = 2·ln ρ.

    Args:
        growth: ρ, of the rate per step.

    Returns:
        The weight of the newest iterate, at most .9.

    Raises:
        ValueError: If the rate does not grow.

    Example:
        >>> round(window_weight(1.2), 3)
        0.365
    """
    if not (math.isfinite(growth) and growth > 1):
        raise ValueError(f"growth must be finite and above 1, got {growth}")
    return min(0.9, math.log(growth) / PER_WINDOW)


def smoothing_weight(growth: float) -> float:
    """Choose the weight of the newest height so that the heights are smoothed over half a window, 2·w.

    Args:
        growth: ρ, of the rate per step.

    Returns:
        The weight, at most .9.

    Raises:
        ValueError: If the rate does not grow.

    Example:
        >>> round(smoothing_weight(1.2), 3)
        0.729
    """
    return min(0.9, window_weight(growth) / SMOOTHED)


def retreat() -> float:
    """Compute by what the rate at the turn is divided: 2·e^¼.

    The turn comes at twice η*, the rate of fastest progress (:func:`coefficients`); it is noticed one smoothing length
    later, which is half a window, in which the rate grows by e^¼.

    Returns:
        The divisor.

    Example:
        >>> round(retreat(), 2)
        2.57
    """
    return CLIMBED * math.exp(PER_WINDOW * SMOOTHED)
