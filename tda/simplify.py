"""A surface without its shallow basins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .field import Cells, read_field
from .mergetree import follow, merge_tree


def simplify(
    values: ArrayLike, threshold: float, cells: Cells = "vertices", *, mask: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Fill every basin shallower than a threshold up to the pass at which it ends.

    g = max(f, s) in the basins whose minimum has persistence s − b < τ, where s is the height of the pass and b that of
    the bottom; g = f elsewhere. Then f ≤ g, max(g − f) < τ, and the H0 diagram of g is that of f without its pairs
    shorter than τ. For shallow peaks, simplify −values and negate the result.

    Source: Edelsbrunner, Morozov and Pascucci, "Persistence-sensitive simplification of functions on 2-manifolds"
    (2006), for minima.

    Args:
        values: Real numbers on a grid of any dimension ≥ 1; NaN and +∞ are holes and stay as they are.
        threshold: τ ≥ 0, in the units of the values.
        cells: "vertices" joins cells along axes, "top" also diagonally; see `persistence`.
        mask: True where a cell is to be left out; it keeps its value.

    Returns:
        New float64 array in the shape of values.

    Raises:
        ValueError: If the threshold is negative or NaN, or values are empty or contain −∞ outside the mask.

    Example:
        >>> simplify([3.0, 0.0, 2.0, 1.0, 4.0], threshold=1.5).tolist()
        [3.0, 0.0, 2.0, 2.0, 4.0]
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be a number of at least 0, in the units of the values, got {threshold}")
    tree = merge_tree(values, cells, mask=mask)
    shallow = tree.persistence < threshold
    # A shallow basin may end in a shallow one; both are then filled to the pass of the last shallow one on the way.
    numbers = np.arange(len(tree))
    last = follow(np.where(shallow & shallow[tree.parents], tree.parents, numbers))
    levels = np.where(shallow, tree.saddle_heights[last], -np.inf)
    simplified = np.array(np.ma.getdata(np.asanyarray(values)), dtype=np.float64)
    inside = np.isfinite(read_field(values, mask))
    simplified[inside] = np.maximum(simplified[inside], levels[tree.basins[inside]])
    return simplified
