"""Persistence diagrams: the container, and the reading of one (n, 2) array of births and deaths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .field import Cells, as_array


@dataclass(frozen=True, eq=False)
class Diagrams:
    """Persistence diagrams of one function, indexed by homology dimension: `diagrams[0]` holds H0.

    Rows are (birth, death), in the units of the values. Sublevel: birth < death, ∞ for an essential class (one that
    never dies). Superlevel: birth > death, −∞ for an essential class. Rows stand in the order of the filtration, by
    birth and then by death; pairs of length zero are left out.

    Attributes:
        points: One float64 array of shape (n, 2) for each homology dimension, from 0 on.
        cells: "vertices" or "top", the construction the diagrams belong to.
        superlevel: Whether the filtration runs from the highest value down.
    """

    points: tuple[NDArray[np.float64], ...]
    cells: Cells
    superlevel: bool

    def __getitem__(self, dimension: int) -> NDArray[np.float64]:
        if not 0 <= dimension < len(self.points):
            raise IndexError(
                f"diagrams hold H0 to H{len(self.points) - 1}, got dimension {dimension}; "
                "ask persistence() for more with max_dimension="
            )
        return self.points[dimension]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return iter(self.points)


def read_diagram(diagram: ArrayLike, name: str = "diagram") -> NDArray[np.float64]:
    """Read one persistence diagram and check that it is one.

    Args:
        diagram: Pairs (birth, death), shape (n, 2); an empty list is the empty diagram.
        name: What messages call it.

    Returns:
        Float64 array of shape (n, 2).

    Raises:
        TypeError: If several dimensions are given at once.
        ValueError: If the shape is wrong, a birth is not finite, a death is NaN, or deaths lie on both sides of births.

    Example:
        >>> read_diagram([(0, 1), (0.5, float("inf"))]).shape
        (2, 2)
        >>> read_diagram([]).shape
        (0, 2)
    """
    if isinstance(diagram, Diagrams):
        raise TypeError(f"{name} must be the pairs of one homology dimension, got Diagrams; pass diagrams[0] for H0")
    points = np.asarray(as_array(diagram, name, "rows of two numbers (birth, death)", floats=True))
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must have shape (n, 2), rows of (birth, death), got shape {points.shape}")
    births, deaths = points.T
    if not np.isfinite(births).all() or np.isnan(deaths).any():
        raise ValueError(f"{name} must have finite births and deaths that are not NaN; remove the other rows")
    if (deaths < births).any() and (deaths > births).any():
        raise ValueError(
            f"{name} has deaths above and deaths below the births; "
            "keep sublevel (birth < death) and superlevel (birth > death) diagrams apart"
        )
    return points


def is_superlevel(points: NDArray[np.float64]) -> bool:
    """Tell whether births lie above deaths.

    Args:
        points: Shape (n, 2), as `read_diagram` returns it.

    Returns:
        False for an empty diagram.

    Example:
        >>> is_superlevel(np.array([[3.0, 1.0]]))
        True
    """
    return bool((points[:, 1] < points[:, 0]).any())


def read_upward(diagram: ArrayLike, name: str = "diagram") -> NDArray[np.float64]:
    """Read a diagram and turn a superlevel one over, so that births lie below deaths.

    Args:
        diagram: Pairs (birth, death), shape (n, 2), sublevel or superlevel.
        name: What messages call it.

    Returns:
        Float64 array of shape (n, 2); for a superlevel diagram of f, that of −f.

    Example:
        >>> read_upward([(3.0, 1.0)]).tolist()
        [[-3.0, -1.0]]
    """
    points = read_diagram(diagram, name)
    return -points if is_superlevel(points) else points


def finite_points(diagram: ArrayLike, essential: float | None = None) -> NDArray[np.float64]:
    """Make every death finite, either by leaving essential classes out or by ending them at a level.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        essential: Level at which essential classes die, such as the highest sampled loss; None leaves them out.

    Returns:
        Float64 array of shape (m, 2), finite.

    Raises:
        ValueError: If `essential` is not finite or lies on the wrong side of a birth.

    Example:
        >>> finite_points([(0.0, float("inf")), (0.5, 1.0)]).tolist()
        [[0.5, 1.0]]
        >>> finite_points([(0.0, float("inf")), (0.5, 1.0)], essential=2.0).tolist()
        [[0.0, 2.0], [0.5, 1.0]]
    """
    points = read_diagram(diagram)
    forever = np.isinf(points[:, 1])
    if essential is None:
        return points[~forever]
    if not np.isfinite(essential):
        raise ValueError(f"essential must be a finite level, got {essential}; None leaves essential classes out")
    ended = points.copy()
    ended[forever, 1] = essential
    before = np.sign(points[:, 1] - points[:, 0])
    if (np.sign(ended[:, 1] - ended[:, 0]) * before < 0).any():
        raise ValueError(
            f"essential = {essential} lies on the wrong side of a birth; "
            "give the last level of the filtration: the highest value (superlevel: the lowest)"
        )
    return ended


def lengths(diagram: ArrayLike, essential: float | None = None) -> NDArray[np.float64]:
    """Measure how long each class lives, |death − birth|.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        essential: Level at which essential classes die; None leaves them out.

    Returns:
        Shape (m,), in the units of the values.

    Example:
        >>> lengths([(0.0, float("inf")), (0.5, 2.0)]).tolist()
        [1.5]
    """
    points = finite_points(diagram, essential)
    length: NDArray[np.float64] = np.abs(points[:, 1] - points[:, 0])
    return length
