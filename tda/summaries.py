"""Summaries of one persistence diagram: numbers and curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagrams import is_superlevel, lengths, read_diagram, read_upward


def total_persistence(diagram: ArrayLike, power: float = 1.0, essential: float | None = None) -> float:
    """Sum the lengths of all classes, Σ |d − b|^power.

    Source: Cohen-Steiner, Edelsbrunner, Harer and Mileyko, "Lipschitz functions have L_p-stable persistence" (2010).

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        power: Positive exponent.
        essential: Level at which essential classes die; None leaves them out.

    Returns:
        The sum, in the units of the values to that power; 0 for an empty diagram.

    Raises:
        ValueError: If power is not positive, or the diagram or `essential` is out of range.

    Example:
        >>> total_persistence([(0.0, float("inf")), (1.0, 2.0), (1.0, 1.5)])
        1.5
    """
    if not power > 0:
        raise ValueError(f"power must be positive, got {power}")
    return float((lengths(diagram, essential) ** power).sum())


def max_persistence(diagram: ArrayLike, essential: float | None = None) -> float:
    """Find the length of the longest class, max |d − b|.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        essential: Level at which essential classes die; None leaves them out.

    Returns:
        The length, in the units of the values; 0 for an empty diagram.

    Example:
        >>> max_persistence([(0.0, float("inf")), (1.0, 2.0), (1.0, 1.5)])
        1.0
    """
    return float(lengths(diagram, essential).max(initial=0.0))


def minima_deeper_than(diagram: ArrayLike, depth: float) -> int:
    """Count the classes longer than a threshold; of an H0 diagram these are the minima deeper than it.

    N(τ) = #{d − b > τ}. Essential classes count, so that a bowl has one minimum at any τ.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        depth: τ ≥ 0, in the units of the values.

    Returns:
        The number.

    Raises:
        ValueError: If depth is negative or NaN.

    Example:
        >>> minima_deeper_than([(0.0, float("inf")), (1.0, 2.0), (1.0, 1.5)], 0.75)
        2
    """
    if not depth >= 0:
        raise ValueError(f"depth must be a number of at least 0, in the units of the values, got {depth}")
    points = read_upward(diagram)
    return int((points[:, 1] - points[:, 0] > depth).sum())


def persistence_entropy(diagram: ArrayLike, essential: float | None = None) -> float:
    """Compute how evenly the total length is spread over the classes.

    E = −Σ pᵢ ln pᵢ with pᵢ = lᵢ/Σ l: 0 for one class, ln n for n equal ones. Scale-free, not stable to small classes.

    Source: Rucco, Castiglione, Merelli and Pettini, "Characterisation of the idiotypic immune network through
    persistent entropy" (2016); Atienza, Gonzalez-Diaz and Soriano-Trigueros (2020), arXiv:1803.08304.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        essential: Level at which essential classes die; None leaves them out.

    Returns:
        The entropy in nats; 0 for an empty diagram.

    Example:
        >>> round(persistence_entropy([(0.0, 1.0), (2.0, 3.0)]), 6)
        0.693147
    """
    length = lengths(diagram, essential)
    length = length[length > 0]
    share = length / length.sum() if len(length) else length
    return float(-(share * np.log(share)).sum()) + 0.0


def betti_curve(diagram: ArrayLike, levels: ArrayLike) -> NDArray[np.intp]:
    """Count the classes alive at each level, β(t) = #{b ≤ t < d}.

    For a superlevel diagram, β(t) = #{b ≥ t > d}. Source: Umeda, "Time series classification via topological data
    analysis" (2017).

    Args:
        diagram: Pairs (birth, death), shape (n, 2); essential classes stay alive.
        levels: t, shape (m,), in the units of the values, in any order.

    Returns:
        Shape (m,).

    Example:
        >>> betti_curve([(0.0, float("inf")), (1.0, 2.0)], [-1.0, 0.0, 1.0, 2.0]).tolist()
        [0, 1, 2, 1]
    """
    level = _levels(levels)
    points = read_diagram(diagram)
    if is_superlevel(points):
        points, level = -points, -level
    born, dead = (np.searchsorted(np.sort(ends), level, side="right") for ends in points.T)
    alive: NDArray[np.intp] = born - dead
    return alive


def persistence_landscape(diagram: ArrayLike, levels: ArrayLike, count: int = 5) -> NDArray[np.float64]:
    """Sample the first persistence landscapes.

    λ_k(t) = the k-th largest of max(min(t − b, d − t), 0) over the points. An essential class never turns down. Values
    are Bubenik's; gudhi's are √2 times as large. A superlevel diagram gives the landscape with b and d exchanged.

    Source: Bubenik, "Statistical topological data analysis using persistence landscapes" (2015),
    arXiv:1207.6437.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        levels: t, shape (m,), in the units of the values.
        count: Number of landscapes, at least 1.

    Returns:
        Shape (count, m), in the units of the values; zero beyond the number of points.

    Raises:
        ValueError: If count is below 1.

    Example:
        >>> persistence_landscape([(0.0, 4.0), (1.0, 3.0)], [1.0, 2.0, 3.5], count=2).tolist()
        [[1.0, 2.0, 0.5], [0.0, 1.0, 0.0]]
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    level = _levels(levels)
    low, high = np.sort(read_diagram(diagram), axis=1).T
    tents = np.minimum(level - low[:, None], high[:, None] - level)
    landscapes = np.zeros((count, len(level)))
    kept = min(count, len(tents))
    if kept:
        landscapes[:kept] = np.sort(np.partition(tents, len(tents) - kept, axis=0)[-kept:], axis=0)[::-1]
    return np.maximum(landscapes, 0.0)


def _levels(levels: ArrayLike) -> NDArray[np.float64]:
    level = np.asarray(levels, dtype=np.float64)
    if level.ndim != 1 or not np.isfinite(level).all():
        raise ValueError(
            f"levels must be a list of finite numbers, got shape {level.shape}; make them with np.linspace"
        )
    return level
