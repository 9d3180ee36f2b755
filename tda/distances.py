"""Distances between persistence diagrams."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagrams import read_diagram, read_upward

Points = NDArray[np.float64]


def bottleneck(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the bottleneck distance between two diagrams.

    d∞(A, B) = min over matchings of the largest ‖p − q‖∞, where points may also be matched to the diagonal and
    essential classes only to each other. Stability: d∞ of the diagrams of f and g is at most sup |f − g|.

    Source: Cohen-Steiner, Edelsbrunner and Harer, "Stability of persistence diagrams" (2007), main theorem. Computed by
    Hera (Kerber, Morozov and Nigmetov 2017, arXiv:1606.03357) through gudhi, exactly.

    Args:
        a: Pairs (birth, death), shape (n, 2), both diagrams sublevel or both superlevel.
        b: Pairs (birth, death), shape (m, 2).

    Returns:
        The distance, in the units of the values; ∞ if the numbers of essential classes differ.

    Raises:
        ValueError: If an argument is no diagram, or one is sublevel and the other superlevel.

    Example:
        >>> bottleneck([(0.0, 1.0)], [(0.0, 1.5), (2.0, 2.25)])
        0.5
    """
    # gudhi has a faster one, under the GPL; Hera's is BSD like the rest of what is used here.
    from gudhi.hera import bottleneck_distance

    first, second = _both(a, b)
    return float(bottleneck_distance(first, second, delta=0.0))


def wasserstein(
    a: ArrayLike, b: ArrayLike, order: float = 1.0, internal_p: float = float("inf"), *, delta: float = 0.0
) -> float:
    """Compute the Wasserstein distance between two diagrams.

    W_q(A, B) = (min over matchings of Σ ‖p − r‖_P^q)^(1/q) with q = order and P = internal_p, where points may also be
    matched to the diagonal and essential classes only to each other. Exact for delta = 0, by an assignment problem on
    an n × m matrix: leaving a point to the diagonal is free, matching costs c − d(p) − d(r) where that is negative.
    Defaults are gudhi's; persim uses internal_p = 2.

    Source: Edelsbrunner and Harer, "Computational Topology" (2010), section VIII.2; for delta > 0 Kerber, Morozov and
    Nigmetov, "Geometry helps to compare persistence diagrams" (2017), arXiv:1606.03357.

    Args:
        a: Pairs (birth, death), shape (n, 2), both diagrams sublevel or both superlevel.
        b: Pairs (birth, death), shape (m, 2).
        order: q ≥ 1, finite.
        internal_p: P ≥ 1 or ∞, the norm in the plane.
        delta: Relative error allowed; above some thousand points .01 is much faster than 0 and needs no n × m matrix.

    Returns:
        The distance, in the units of the values; ∞ if the numbers of essential classes differ.

    Raises:
        ValueError: If an argument is no diagram, one is sublevel and the other superlevel, or a number is out of range.

    Example:
        >>> wasserstein([(0.0, 1.0)], [(0.0, 1.5), (2.0, 2.5)])
        0.75
    """
    if not (1 <= order < np.inf):
        raise ValueError(
            f"order must be at least 1 and finite, got {order}; for the limit of large order use bottleneck"
        )
    if not internal_p >= 1:
        raise ValueError(f"internal_p must be at least 1 or infinite, got {internal_p}")
    if not 0 <= delta < np.inf:
        raise ValueError(f"delta must be a relative error of at least 0, got {delta}")
    first, second = _both(a, b)
    if delta > 0:
        from gudhi.hera import wasserstein_distance

        # Hera wants points of the diagonal removed.
        points = [each[each[:, 0] < each[:, 1]] for each in (first, second)]
        return float(wasserstein_distance(*points, order=order, internal_p=internal_p, delta=delta))
    ends = [np.sort(points[np.isinf(points[:, 1]), 0]) for points in (first, second)]
    if len(ends[0]) != len(ends[1]):
        return float("inf")
    # On the line the sorted matching is optimal for every order ≥ 1.
    essential = float((np.abs(ends[0] - ends[1]) ** order).sum())
    finite = [points[np.isfinite(points[:, 1])] for points in (first, second)]
    return float((essential + _assigned(finite[0], finite[1], order, internal_p)) ** (1.0 / order))


def _assigned(first: Points, second: Points, order: float, internal_p: float) -> float:
    from scipy.optimize import linear_sum_assignment

    # The way to the diagonal is half the length in either coordinate.
    left = [((points[:, 1] - points[:, 0]) / 2 * 2.0 ** (1 / internal_p)) ** order for points in (first, second)]
    between = np.linalg.norm(first[:, None] - second[None], internal_p, axis=2) ** order
    gain = np.minimum(between - left[0][:, None] - left[1][None], 0.0)
    rows, columns = linear_sum_assignment(gain)
    matched = gain[rows, columns] < 0
    rows, columns = rows[matched], columns[matched]
    # Summed afresh, so that equal diagrams are at distance zero and not at a rounding error.
    alone = np.delete(left[0], rows).sum() + np.delete(left[1], columns).sum()
    return float(between[rows, columns].sum() + alone)


def _both(a: ArrayLike, b: ArrayLike) -> tuple[Points, Points]:
    first, second = read_diagram(a, "a"), read_diagram(b, "b")
    directions = [np.sign(points[:, 1] - points[:, 0]).sum() for points in (first, second)]
    if directions[0] * directions[1] < 0:
        raise ValueError("a and b must both be sublevel diagrams (birth < death) or both superlevel, got one of each")
    return read_upward(first, "a"), read_upward(second, "b")
