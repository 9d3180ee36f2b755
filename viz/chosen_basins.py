"""The basins that a figure shows, out of all that a surface has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import tda
from .classes import Source, check_threshold, is_among, known_error, read_values, refuse_noise


@dataclass(frozen=True, eq=False)
class Basins:
    """The basins that a figure shows, deepest first; the first is number 1 on every figure.

    Attributes:
        tree: The whole tree.
        shown: Their numbers in the tree, shape (n,).
        parents: Position in this list of the basin that each joins, −1 for a root; shape (n,).
        noise: How many more there are within the noise.
        shallower: How many more there are above it.
        name: What the values are.
        highest: Highest finite value.
    """

    tree: tda.MergeTree
    shown: NDArray[np.intp]
    parents: NDArray[np.intp]
    noise: int
    shallower: int
    name: str
    highest: float

    @property
    def left_out(self) -> str:
        """What the figure does not show, in words; empty if it shows all."""
        counts = {"within the noise": self.noise, "shallower": self.shallower}
        parts = [f"{count} {why}" for why, count in counts.items() if count]
        return f"not drawn: {' and '.join(parts)}" if parts else ""


def read_basins(
    data: Source,
    *,
    caller: str,
    most: int,
    cells: tda.Cells = "vertices",
    metric: str | None = None,
    label: str | None = None,
    noise: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> Basins:
    """Read the basins that a figure draws: those above the noise, at most so many, by persistence.

    Args:
        data: A surface or an array of values on a grid of any dimension, or a merge tree.
        caller: Name of the figure's function, for messages.
        most: How many to show at most.
        cells: "vertices" or "top".
        metric: Name of a metric of the surface to take instead of the loss.
        label: Name of the values.
        noise: Standard error of the values; None takes the surface's own, 0 takes all basins as real.
        threshold: Depth up to which basins count as noise, whatever the standard error says.
        confidence: Probability that no basin above the noise is due to it.

    Returns:
        The basins.

    Raises:
        TypeError: If an argument needs values and there are none, or data are diagrams, which know no basins.
        ValueError: If the data is no grid or has no finite value, most is below 1, or threshold is negative.
    """
    check_threshold(threshold)
    if most < 1:
        raise ValueError(f"most must be at least 1 basin, got {most}")
    if isinstance(data, tda.Diagrams):
        raise TypeError(f"{caller} needs to know which basin joins which, and diagrams do not; pass the surface")
    error = None
    if isinstance(data, tda.MergeTree):
        refuse_noise(data, noise, metric)
        tree, name = data, label or "value"
        ends = data.saddle_heights[np.isfinite(data.saddle_heights)]
        highest = float(np.concatenate([ends, data.heights]).max(initial=-np.inf))
    else:
        field = read_values(data, caller=caller, metric=metric, label=label)
        tree, name, error = tda.merge_tree(field.values, cells), field.name, known_error(field, noise)
        highest = float(np.max(field.values, where=np.isfinite(field.values), initial=-np.inf))
    if len(tree) == 0:
        raise ValueError(f"no value of {name} is finite, so there is no basin to draw")
    if threshold is not None:
        real = tree.persistence > threshold
    elif error is not None:
        real = is_among(tree.minima, tda.profile(field.values, error, cells=cells, confidence=confidence).minima)
    else:
        real = np.ones(len(tree), dtype=bool)
    ranked = np.flatnonzero(real)
    ranked = ranked[np.argsort(-tree.persistence[ranked], kind="stable")]
    shown = np.sort(ranked[:most])
    shallower = len(ranked) - len(shown)
    return Basins(tree, shown, _parents(tree, shown), int((~real).sum()), shallower, name, highest)


def _parents(tree: tda.MergeTree, shown: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find for each basin the next one on the way to the root that is shown too."""
    position = {int(number): i for i, number in enumerate(shown)}
    parents = []
    for number in shown:
        above = int(tree.parents[number])
        while above >= 0 and above not in position:
            above = int(tree.parents[above])
        parents.append(position.get(above, -1))
    return np.array(parents, dtype=np.intp)
