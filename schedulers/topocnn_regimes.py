"""The regimes that TopoCNN tells apart, their factors, and the rules that label examples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..landscape.features import sharpness as relative_sharpness
from ..landscape.features import variance as relative_variance
from ..landscape.points import NEIGHBOURS
from ..tda import persistence

REFERENCE_STEP = 2 * 0.12 / 14  # one cell of a 15×15 grid with span .12, for which Eq. 4 has its thresholds
SADDLE = -0.01  # neighbours lower than this, relative to the loss, are no flat ground
BARRIER = math.log(1.1)  # a wall of a tenth of the loss makes a surface rugged
FLOOR = 1e-8


@dataclass(frozen=True)
class Regime:
    """One class of TopoCNN.

    Attributes:
        name: The reason that the history records.
        factor: By which the learning rates are multiplied.
    """

    name: str
    factor: float


PUBLISHED = (Regime("flat", 1.15), Regime("neutral", 1.0), Regime("decelerate", 0.85))
CORRECTED = (
    Regime("flat", 1.15),
    Regime("neutral", 1.0),
    Regime("moderately sharp", 0.95),
    Regime("rugged", 0.85),
    Regime("very sharp", 0.80),
)


def published_label(sharpness: float, variance: float) -> int:
    """Label a probe as TopoAdamW does to train its network.

    Flat if s < .1 and v < .3; to be slowed down if s > .2 or v > .5; else neutral. Source: Peng, "TopoAdamW",
    section 3.4 (2026 draft; code topoadamw 0.1.0).

    Args:
        sharpness: s, as published.
        variance: v, as published.

    Returns:
        Index into ``PUBLISHED``.

    Example:
        >>> [published_label(*pair) for pair in ((0.0, 0.1), (0.15, 0.1), (0.3, 0.1))]
        [0, 1, 2]
    """
    if sharpness < 0.1 and variance < 0.3:
        return 0
    return 2 if sharpness > 0.2 or variance > 0.5 else 1


def corrected_label(sharpness: float, variance: float, barrier: float) -> int:
    """Label a probe with one of five regimes, so that every factor of Eq. 4 can be learned.

    ==========================================  ===================  ========
    in this order                               regime               factor
    ==========================================  ===================  ========
    s > .5                                      very sharp           .80
    barrier > ln 1.1                            rugged               .85
    s > .2                                      moderately sharp     .95
    −.01 < s < .1 and v < .3                      flat                 1.15
    otherwise                                   neutral              1
    ==========================================  ===================  ========

    The thresholds of s and v are those of Peng, "TopoAdamW", Eq. 4 (2026 draft). Differences: ruggedness is a matter
    of topology, and not of v > .5, which any steep bowl has; a saddle (s < −.01) is neutral, where Eq. 4 accelerates;
    s is to be given for the step of a 15×15 grid with span .12, whatever grid it was measured on. What remains is that
    s and v are relative to the loss: where the loss never gets small, nearly every probe is flat.

    Args:
        sharpness: s at the reference step, from :func:`sharpness_at_reference`.
        variance: v, as published.
        barrier: From :func:`barrier`.

    Returns:
        Index into ``CORRECTED``.

    Example:
        >>> CORRECTED[corrected_label(0.02, 0.1, barrier=0.3)].name
        'rugged'
    """
    if sharpness > 0.5:
        return 4
    if barrier > BARRIER:
        return 3
    if sharpness > 0.2:
        return 2
    return 0 if SADDLE < sharpness < 0.1 and variance < 0.3 else 1


def sharpness_at_reference(sharpness: float, step: float) -> float:
    """Convert a sharpness to the step that the thresholds are made for.

    Sharpness is a second difference, so that a bowl has s ∝ step²: the published code compares s of a 7×7 grid, 5.4
    times as large on the same bowl, with the same thresholds.

    Args:
        sharpness: Measured at a distance of ``step``.
        step: Distance of neighbours, in units of the directions.

    Returns:
        s·(.24/14)²/step².

    Example:
        >>> round(sharpness_at_reference(0.2 * (14 / 6) ** 2, step=0.24 / 6), 9)
        0.2
    """
    return sharpness * (REFERENCE_STEP / step) ** 2


def barrier(grid: ArrayLike) -> tuple[float, int, int]:
    """Find the highest wall around a minor basin, and count what topology sees.

    max ln(d/b) over the finite H0 pairs and all H1 pairs (b, d) of the sublevel sets, with values on vertices and
    losses at least 1e-8: 0 for a bowl, however steep. By the stability of diagrams (Cohen-Steiner, Edelsbrunner and
    Harer 2007) it moves by at most twice the largest change of ln L.

    Args:
        grid: Losses, shape (n, n), finite.

    Returns:
        The barrier, the number of H0 pairs with the essential one, and the number of H1 pairs.

    Example:
        >>> height, basins, loops = barrier([[1, 2, 1], [2, 2, 2], [4, 4, 4]])
        >>> round(height, 6), basins, loops
        (0.693147, 2, 0)
    """
    components, loops = persistence(np.asarray(grid, dtype=np.float64), max_dimension=1)
    minor = np.maximum(np.concatenate([components[np.isfinite(components[:, 1])], loops]), FLOOR)
    height = float(np.log(minor[:, 1] / minor[:, 0]).max(initial=0.0))
    return height, len(components), len(loops)


def describe(grid: ArrayLike, step: float) -> tuple[float, float, float]:
    """Compute what :func:`corrected_label` asks for, from a grid of losses.

    Args:
        grid: Losses, shape (n, n) with n odd, finite.
        step: Distance of neighbouring points, in units of the directions.

    Returns:
        Sharpness at the reference step, variance and barrier.
    """
    losses = np.asarray(grid, dtype=np.float64)
    middle = len(losses) // 2
    around = [losses[middle + i, middle + j] for i, j in NEIGHBOURS]
    sharp = relative_sharpness(float(losses[middle, middle]), around)
    return sharpness_at_reference(sharp, step), relative_variance(losses), barrier(losses)[0]
