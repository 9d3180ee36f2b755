"""A short description of a loss surface: basins, barriers, roughness, loops, and what of it exceeds the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagrams import lengths
from .field import Cells, as_array, read_field
from .mergetree import MergeTree, follow, merge_tree
from .persistence import persistence


@dataclass(frozen=True, eq=False)
class Profile:
    """What the sublevel sets of a surface say, in the units of its values.

    Attributes:
        n_basins: Basins deeper than the noise, the deepest included; 0 only if no cell has a value.
        minima: Indices of their bottoms into the array, shape (n_basins, ndim), deepest first.
        heights: Values there, shape (n_basins,).
        depths: Climb from each bottom to the pass where the basin ends, shape (n_basins,). The deepest basin ends
            nowhere on the surface: its depth is the highest value less its own.
        barriers: Climb from the deepest bottom to the highest point of the lowest path to each basin, shape
            (n_basins,); 0 for the deepest itself, ∞ for a basin that holes cut off.
        n_loops: H1 classes longer than the noise: peaks and ridges that low ground surrounds.
        roughness: Σ over all finite H0 pairs of (death − birth), divided by the range of values; 0 for one basin.
        noise_share: Part of that sum that comes from basins within the noise; 0 if there is no roughness.
        noise_floor: Depth below which a feature may be noise, at the noisiest cell; 0 if no noise was given.
        lowest: Lowest value; NaN if no cell has one.
        highest: Highest finite value; NaN if no cell has one.
        holes: Number of cells without a value.
    """

    n_basins: int
    minima: NDArray[np.intp]
    heights: NDArray[np.float64]
    depths: NDArray[np.float64]
    barriers: NDArray[np.float64]
    n_loops: int
    roughness: float
    noise_share: float
    noise_floor: float
    lowest: float
    highest: float
    holes: int

    def as_dict(self) -> dict[str, Any]:
        """Give all fields as plain numbers and lists.

        Returns:
            One entry for each attribute, ready for `json.dumps`.

        Example:
            >>> profile([3.0, 0.0, 2.0, 1.0, 4.0]).as_dict()["depths"]
            [4.0, 1.0]
        """
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    def summary(self) -> str:
        """Describe the surface in a few lines of text.

        Returns:
            Lines without a final line break; at most the five deepest basins.

        Example:
            >>> print(profile([3.0, 0.0, 2.0, 1.0, 4.0]).summary())
            2 basins, 0 loops; values 0 to 4, roughness 0.25
              at (1,): value 0, depth 4, barrier 0
              at (3,): value 1, depth 1, barrier 2
        """
        counts = f"{_count(self.n_basins, 'basin')}, {_count(self.n_loops, 'loop')}"
        lines = [f"{counts}; values {self.lowest:.4g} to {self.highest:.4g}, roughness {self.roughness:.3g}"]
        if self.noise_floor:
            lines.append(
                f"  noise floor {self.noise_floor:.3g}; {self.noise_share:.0%} of the roughness lies within it"
            )
        if self.holes:
            lines.append(f"  {_count(self.holes, 'cell')} without a value")
        listed = zip(self.minima.tolist(), self.heights, self.depths, self.barriers, strict=True)
        lines += [
            f"  at {tuple(place)}: value {height:.4g}, depth {depth:.4g}, barrier {barrier:.4g}"
            for place, height, depth, barrier in list(listed)[:5]
        ]
        if self.n_basins > 5:
            lines.append(f"  and {self.n_basins - 5} more")
        return "\n".join(lines)


def profile(
    values: ArrayLike,
    noise: ArrayLike | None = None,
    *,
    cells: Cells = "vertices",
    mask: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Profile:
    """Count the basins and loops of a surface that are deeper than its noise, and measure depths and barriers.

    With standard errors σ at N cells, all errors stay below ε = zσ with the given confidence, where
    z = Φ⁻¹(1 − (1 − confidence)/2N) for normal errors, independent or not. Diagrams then move by at most ε, so that a
    feature longer than 2ε is no artefact. Where σ varies, a basin must be deeper than ε at its bottom plus ε at its
    pass, and a loop longer than 2 max ε. Points measured on the same batches share most of their error: the standard
    error of single losses is then a cautious choice.

    Source: Cohen-Steiner, Edelsbrunner and Harer, "Stability of persistence diagrams" (2007); confidence bands in the
    manner of Fasy et al., "Confidence sets for persistence diagrams" (2014), arXiv:1303.7117.

    Args:
        values: Real numbers on a grid of any dimension ≥ 1; NaN and +∞ are holes.
        noise: Standard error of the values, one number or one for each cell; None takes all features as real.
        cells: "vertices" or "top"; see `persistence`.
        mask: True where a cell is to be left out; shape of values.
        confidence: Probability, above 0 and below 1, that no feature counted is due to noise.

    Returns:
        The profile.

    Raises:
        ValueError: If noise is negative, not finite where there is a value, or of another shape; if confidence is not
            between 0 and 1; or if values are empty or contain −∞ outside the mask.

    Example:
        >>> found = profile([3.0, 0.0, 2.0, 1.0, 4.0], noise=0.3)
        >>> found.n_basins, found.barriers.tolist(), round(found.noise_floor, 3)
        (1, [0.0], 1.545)
    """
    field = read_field(values, mask)
    inside = np.isfinite(field)
    finite = field[inside]
    margin = _margin(noise, inside, confidence)
    floor = 2.0 * float(margin[inside].max(initial=0.0))
    tree = merge_tree(field, cells)
    ends = tree.parents >= 0
    needed = np.zeros(len(tree))
    needed[ends] = margin[tuple(tree.minima[ends].T)] + margin[tuple(tree.saddles[ends].T)]
    real = tree.persistence > needed
    lived = tree.persistence[ends]
    lowest, highest = (float(finite.min()), float(finite.max())) if len(finite) else (float("nan"), float("nan"))
    total = float(lived.sum())
    loops = lengths(persistence(field, cells, max_dimension=1)[1])
    return Profile(
        n_basins=int(real.sum()),
        minima=tree.minima[real],
        heights=tree.heights[real],
        depths=np.where(ends, tree.persistence, highest - tree.heights)[real],
        barriers=_barriers(tree)[real],
        n_loops=int((loops > floor).sum()),
        roughness=total / (highest - lowest) if total else 0.0,
        noise_share=float(lived[~real[ends]].sum()) / total if total else 0.0,
        noise_floor=floor,
        lowest=lowest,
        highest=highest,
        holes=int((~inside).sum()),
    )


def _margin(noise: ArrayLike | None, inside: NDArray[np.bool_], confidence: float) -> NDArray[np.float64]:
    """Give the largest error to expect in each cell."""
    from scipy.special import ndtri

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    given = 0.0 if noise is None else noise
    error = np.asarray(as_array(given, "noise", "one standard error or one for each value", floats=True))
    if error.shape not in {(), inside.shape}:
        raise ValueError(f"noise must be one standard error or one for each value, {inside.shape}, got {error.shape}")
    error = np.where(inside, error, 0.0)
    if not (np.isfinite(error) & (error >= 0)).all():
        raise ValueError("noise must be finite and not negative wherever there is a value; mask the other cells")
    margin: NDArray[np.float64] = error * ndtri(1 - (1 - confidence) / (2 * max(int(inside.sum()), 1)))
    return margin


def _barriers(tree: MergeTree) -> NDArray[np.float64]:
    """Climb from minimum 0 to the highest point of the lowest path to each minimum."""
    if len(tree) == 0:
        return np.empty(0)
    numbers = np.arange(len(tree))
    # Passes rise towards the root, so the last one before it is the highest.
    below_root = (tree.parents >= 0) & (tree.parents[tree.parents] >= 0)
    last = follow(np.where(below_root, tree.parents, numbers))
    barriers = np.where(tree.parents[last] == 0, tree.saddle_heights[last] - tree.heights[0], np.inf)
    barriers[0] = 0.0
    result: NDArray[np.float64] = barriers
    return result


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
