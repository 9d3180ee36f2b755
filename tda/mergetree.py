"""Merge tree: which minima there are, and over which pass each joins a deeper one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .field import Cells, check_cells, neighbour_offsets, neighbour_slices, read_field

Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Minima of a sampled function, deepest first, and the passes at which their basins merge.

    Minima are numbered by height, then by position (row-major). At a pass the shallower basin ends (elder rule) and
    its minimum becomes a child of the deepest minimum it has met. One root remains for each connected piece of the
    domain; without holes that is minimum 0 alone.

    Attributes:
        minima: Indices into the array, shape (n, ndim).
        heights: Values at the minima, shape (n,).
        saddles: Indices of the cell in which the basin ends, shape (n, ndim); −1 for a root.
        saddle_heights: Values there, shape (n,); ∞ for a root.
        parents: Number of the minimum whose basin takes over, shape (n,); −1 for a root.
        basins: Number of the minimum to which steepest descent leads from each cell, shape of the array; −1 in a hole.
    """

    minima: Integers
    heights: NDArray[np.float64]
    saddles: Integers
    saddle_heights: NDArray[np.float64]
    parents: Integers
    basins: Integers

    def __len__(self) -> int:
        return len(self.heights)

    @property
    def pairs(self) -> NDArray[np.float64]:
        """H0 pairs (birth, death), shape (n, 2), in the order of the minima."""
        return np.column_stack([self.heights, self.saddle_heights])

    @property
    def persistence(self) -> NDArray[np.float64]:
        """Height of the pass above the minimum, shape (n,); ∞ for a root."""
        depth: NDArray[np.float64] = self.saddle_heights - self.heights
        return depth

    def pass_between(self, first: int, second: int) -> tuple[float, tuple[int, ...] | None]:
        """Find the lowest pass between two minima.

        Its height is min over paths of the highest value on the path.

        Args:
            first: Number of a minimum.
            second: Number of another.

        Returns:
            Height of the pass and its index into the array; ∞ and None between pieces that holes keep apart.

        Raises:
            IndexError: If there is no minimum of that number.
            ValueError: If both are the same.

        Example:
            >>> merge_tree([2.0, 0.0, 3.0, 1.0, 5.0, 2.0]).pass_between(1, 2)
            (5.0, (4,))
        """
        for number in (first, second):
            if not 0 <= number < len(self):
                raise IndexError(f"the tree has minima 0 to {len(self) - 1}, got {number}")
        if first == second:
            raise ValueError(f"a pass needs two minima, got {first} twice")
        a, b = first, second
        while a != b:
            # The basin that ends first, in the order of cells, goes on as its parent.
            if (self.saddle_heights[a], *self.saddles[a]) > (self.saddle_heights[b], *self.saddles[b]):
                a, b = b, a
            if self.parents[a] < 0:
                return float("inf"), None
            last, a = a, int(self.parents[a])
        return float(self.saddle_heights[last]), tuple(int(i) for i in self.saddles[last])


def merge_tree(values: ArrayLike, cells: Cells = "vertices", *, mask: ArrayLike | None = None) -> MergeTree:
    """Build the merge tree of the sublevel sets of a sampled function.

    Cells are put in a strict order by value, then by position. Steepest descent gives each cell its minimum; the lowest
    contact between each two basins is an edge of weight max(f(u), f(v)); on a minimum spanning tree of these edges, in
    order of weight, basins merge by the elder rule. The pairs are those of `persistence(values, cells)[0]`. For the
    maxima, pass −values.

    Source: Carr, Snoeyink and Axen, "Computing contour trees in all dimensions" (2003), and the elder rule of
    Edelsbrunner and Harer, "Computational Topology" (2010), section VII.1.

    Args:
        values: Real numbers on a grid of any dimension ≥ 1; NaN and +∞ are holes.
        cells: "vertices" joins cells along axes, "top" also diagonally; see `persistence`.
        mask: True where a cell is to be left out; shape of values.

    Returns:
        The tree. Minima of no depth, such as two cells of one plateau, are not listed.

    Raises:
        ValueError: If values are empty or contain −∞ outside the mask, or cells is unknown.

    Example:
        >>> tree = merge_tree([3.0, 0.0, 2.0, 1.0, 4.0])
        >>> tree.minima.ravel().tolist(), tree.saddles.ravel().tolist(), tree.parents.tolist()
        ([1, 3], [-1, 2], [-1, 0])
        >>> tree.basins.tolist()
        [0, 0, 0, 1, 1]
    """
    check_cells(cells)
    field = read_field(values, mask)
    flat = field.ravel()
    order = np.argsort(flat, kind="stable")
    ranks = np.empty(flat.size, dtype=np.intp)
    ranks[order] = np.arange(flat.size)
    entered = int(np.isfinite(flat).sum())
    grid = ranks.reshape(field.shape)
    steps = [neighbour_slices(offset) for offset in neighbour_offsets(field.ndim, cells)]

    bottoms, labels = _descend(grid, steps, order, entered)
    parents, passes = _join(len(bottoms), *_contacts(grid, steps, labels, len(bottoms)))
    bottom_cells = order[bottoms]
    heights = flat[bottom_cells]
    ends = passes >= 0
    saddle_cells = order[np.maximum(passes, 0)]
    saddle_heights = np.where(ends, flat[saddle_cells], np.inf)

    kept = saddle_heights > heights
    numbers = np.cumsum(kept) - 1
    # A basin without depth ends in one with the same or an older minimum, and so on up to one that is kept.
    heirs = numbers[follow(np.where(kept, np.arange(len(kept)), parents))]
    above = np.where(parents[kept] >= 0, numbers[parents[kept]], -1)
    saddles = np.where(ends[:, None], np.column_stack(np.unravel_index(saddle_cells, field.shape)), -1)
    return MergeTree(
        minima=np.column_stack(np.unravel_index(bottom_cells[kept], field.shape)),
        heights=heights[kept],
        saddles=saddles[kept],
        saddle_heights=saddle_heights[kept],
        parents=above,
        basins=np.where(labels >= 0, heirs[labels], -1) if len(kept) else labels,
    )


def follow(target: Integers) -> Integers:
    """Replace each target by the end of its chain, doubling the step each time.

    Args:
        target: Where each entry points, shape (n,); an end points to itself.

    Returns:
        The end of the chain that starts at each entry, shape (n,).

    Example:
        >>> follow(np.array([0, 0, 1, 3, 2])).tolist()
        [0, 0, 0, 3, 0]
    """
    while True:
        further = target[target]
        if np.array_equal(further, target):
            return target
        target = further


def _descend(
    grid: Integers, steps: list[tuple[tuple[slice, ...], tuple[slice, ...]]], order: Integers, entered: int
) -> tuple[Integers, Integers]:
    """Find the ranks of all minima, and the number of the minimum below each cell."""
    lowest = grid.copy()
    for here, there in steps:
        np.minimum(lowest[here], grid[there], out=lowest[here])
        np.minimum(lowest[there], grid[here], out=lowest[there])
    # Everything is renumbered by rank here, so that holes, which rank last, are cut off at the end.
    feet = follow(lowest.ravel()[order[:entered]])
    bottoms = np.flatnonzero(feet == np.arange(entered))
    labels = np.full(grid.size, -1, dtype=np.intp)
    labels[order[:entered]] = np.searchsorted(bottoms, feet)
    return bottoms, labels.reshape(grid.shape)


def _contacts(
    grid: Integers, steps: list[tuple[tuple[slice, ...], tuple[slice, ...]]], labels: Integers, count: int
) -> tuple[Integers, Integers, Integers]:
    """List the pairs of basins that touch, with the rank of the lowest cell in which they do."""
    keys, weights = [], []
    for here, there in steps:
        one, other = labels[here], labels[there]
        touch = (one != other) & (one >= 0) & (other >= 0)
        one, other = one[touch], other[touch]
        keys.append(np.minimum(one, other) * count + np.maximum(one, other))
        weights.append(np.maximum(grid[here], grid[there])[touch])
    key, weight = np.concatenate(keys), np.concatenate(weights)
    order = np.lexsort((weight, key))
    key, weight = key[order], weight[order]
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    return key[first] // max(count, 1), key[first] % max(count, 1), weight[first]


def _join(count: int, one: Integers, other: Integers, weight: Integers) -> tuple[Integers, Integers]:
    """Merge basins by the elder rule; give each the one that takes over and the rank of the pass."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    parents = np.full(count, -1, dtype=np.intp)
    passes = np.full(count, -1, dtype=np.intp)
    if len(weight) == 0:
        return parents, passes
    # Ranks stay exact in float64; one is added because a weight of zero would mean no edge.
    forest = minimum_spanning_tree(coo_array((weight + 1.0, (one, other)), shape=(count, count)).tocsr()).tocoo()
    order = np.argsort(forest.data, kind="stable")
    leader = list(range(count))

    def find(basin: int) -> int:
        while leader[basin] != basin:
            leader[basin] = leader[leader[basin]]
            basin = leader[basin]
        return basin

    for a, b, rank in zip(
        forest.row[order].tolist(), forest.col[order].tolist(), forest.data[order].tolist(), strict=True
    ):
        elder, younger = sorted((find(a), find(b)))
        leader[younger] = parents[younger] = elder
        passes[younger] = int(rank) - 1
    # Where three basins meet in one cell, the one in the middle ends there too and cannot take over.
    while True:
        heir = parents[parents]
        blocked = (parents >= 0) & (passes[parents] == passes) & (heir >= 0)
        if not blocked.any():
            return parents, passes
        parents[blocked] = heir[blocked]
