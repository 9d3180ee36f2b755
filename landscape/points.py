"""Coordinates at which a loss is evaluated; no model in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Span = float | tuple[float, float] | Sequence[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Points:
    """N points in k dimensions.

    Attributes:
        coordinates: Shape (N, k), float64, in units of the directions.
        shape: Shape of the grid if the points form one (row-major, first direction first), else None.
        kind: "grid", "line", "sparse" or "points".
    """

    coordinates: NDArray[np.float64]
    shape: tuple[int, ...] | None
    kind: str

    def __len__(self) -> int:
        return int(self.coordinates.shape[0])

    @property
    def dims(self) -> int:
        """Number of directions that the points need."""
        return int(self.coordinates.shape[1])

    @property
    def span(self) -> float:
        """Largest absolute coordinate."""
        return float(np.abs(self.coordinates).max())


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")
    return float(value)


def _axis(n: int, low: float, high: float) -> NDArray[np.float64]:
    if low == -high:
        # Symmetric to the last bit with an exact zero and exact ends, which linspace does not promise.
        half = (n - 1) // 2
        return np.arange(-half, half + 1) / half * high
    steps = np.arange(n)
    axis: NDArray[np.float64] = (low * (n - 1 - steps) + high * steps) / (n - 1)
    axis[np.abs(axis) < 1e-12 * (high - low)] = 0.0  # a step that meets the origin meets it exactly
    axis[0], axis[-1] = low, high
    return axis


def _ends(span: Span, dims: int) -> list[tuple[float, float]]:
    """Read a span as (low, high) for each dimension."""
    array = np.asarray(span, dtype=np.float64)
    if array.shape == ():
        return [(-_positive("span", float(array)), float(array))] * dims
    if array.shape not in {(2,), (dims, 2)}:
        raise ValueError(
            f"span must be a number, a pair (low, high), or such a pair for each of the {dims} dimensions, got shape "
            f"{array.shape}"
        )
    pairs = np.broadcast_to(array, (dims, 2)).tolist()
    for low, high in pairs:
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"span must run from a lower to a higher finite number, got ({low:g}, {high:g})")
    return [(low, high) for low, high in pairs]


def _counts(n: int | Sequence[int], ends: list[tuple[float, float]]) -> list[int]:
    counts = [int(n)] * len(ends) if isinstance(n, int | np.integer) else [int(count) for count in n]
    if len(counts) != len(ends):
        raise ValueError(f"n must be one number, or one for each of the {len(ends)} dimensions, got {len(counts)}")
    for count, (low, high) in zip(counts, ends, strict=True):
        if low == -high and (count < 3 or count % 2 == 0):
            raise ValueError(
                "n must be odd and at least 3, so that the centre lies on the grid, got "
                f"{count}; use {max(3, count + 1)}"
            )
        if count < 2:
            raise ValueError(f"n must be at least 2 points, got {count}")
    return counts


def grid(n: int | Sequence[int], span: Span = 1.0, dims: int = 2) -> Points:
    """Make a regular grid, with its centre exactly on the origin unless the span says otherwise.

    Args:
        n: Points along each dimension, or one number per dimension; odd where the span is symmetric, so that one of
            them is the centre.
        span: Half the width: coordinates run from −span to span, both included. For a grid that is not centred on the
            origin a pair (low, high), or one pair per dimension; a step that meets the origin meets it exactly.
        dims: Number of dimensions.

    Returns:
        n^dims points; the first coordinate varies slowest.

    Raises:
        ValueError: If n is even where the span is symmetric or too small, span is not positive or not ascending, a
            number of dimensions does not fit, or dims is below 1.

    Example:
        >>> grid(3, span=0.5).coordinates[:4].tolist()
        [[-0.5, -0.5], [-0.5, 0.0], [-0.5, 0.5], [0.0, -0.5]]
        >>> grid((2, 3), span=((0, 1), (-1, 1))).coordinates[-3:].tolist()
        [[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if dims < 1:
        raise ValueError(f"dims must be at least 1, got {dims}")
    ends = _ends(span, dims)
    counts = _counts(n, ends)
    axes = np.meshgrid(*[_axis(m, *pair) for m, pair in zip(counts, ends, strict=True)], indexing="ij")
    return Points(np.stack([axis.ravel() for axis in axes], axis=1), tuple(counts), "grid")


def line(n: int, span: float | tuple[float, float] = 1.0) -> Points:
    """Make points on a line, with the centre exactly on the origin unless the span says otherwise.

    Args:
        n: Number of points; odd where the span is symmetric.
        span: Coordinates run from −span to span, both included; or a pair (low, high).

    Returns:
        n points in one dimension.

    Raises:
        ValueError: If n is even or too small, or span is not positive or not ascending.

    Example:
        >>> line(5).coordinates.ravel().tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0]
        >>> line(3, span=(0, 1)).coordinates.ravel().tolist()
        [0.0, 0.5, 1.0]
    """
    made = grid(n, span, dims=1)
    return Points(made.coordinates, made.shape, "line")


def grid_around(coordinates: ArrayLike, n: int = 25, margin: float = 0.25) -> Points:
    """Make a regular grid that holds given points, e.g. the path of a trajectory, with some room around them.

    It is equally wide along every dimension. Where the origin lies inside, it lies exactly on the grid.

    Args:
        coordinates: Shape (T, k).
        n: Points along each dimension; at least 3.
        margin: Room on each side of the widest extent of the points, as a fraction of it.

    Returns:
        n^k points.

    Raises:
        ValueError: If the points are not finite or all the same, n is below 3, or margin is negative.

    Example:
        >>> grid_around([[0.0, 0.0], [1.0, 2.0]], n=5, margin=0.5).shape
        (5, 5)
    """
    given = points(coordinates).coordinates
    if n < 3:
        raise ValueError(f"n must be at least 3 points along each dimension, got {n}")
    if not (np.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be a number from 0 up, got {margin}")
    low, high = given.min(axis=0), given.max(axis=0)
    widest = float((high - low).max())
    if widest == 0:
        raise ValueError("coordinates are all the same point, which has no extent; use grid(n, span)")
    middle, half = (low + high) / 2, (0.5 + margin) * widest
    low, high = middle - half, middle + half
    axes = [_through_origin(n, *pair) for pair in zip(low.tolist(), high.tolist(), strict=True)]
    mesh = np.meshgrid(*axes, indexing="ij")
    return Points(np.stack([axis.ravel() for axis in mesh], axis=1), (n,) * len(axes), "grid")


def _through_origin(n: int, low: float, high: float) -> NDArray[np.float64]:
    if not low < 0 < high:
        return _axis(n, low, high)
    # One cell more than the extent needs, so that the grid can be shifted to the origin and still holds the ends.
    step = (high - low) / (n - 2)
    axis: NDArray[np.float64] = (np.arange(n) - np.ceil(-low / step)) * step
    return axis


NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def sparse_stencil(
    span: float = 0.12, reference_grid: int = 15, samples: int = 16, seed: int | tuple[int, ...] = 0
) -> Points:
    """Make the sparse probe of TopoAdamW: the centre, eight neighbours and uniform samples of the square around.

    The neighbours stand at h = 2·span/(reference_grid − 1), one cell of the grid they replace. Source: Peng,
    "TopoAdamW", section 3.1 (2026 draft; code topoadamw 0.1.0).

    Args:
        span: Half the width of the square, in units of the directions.
        reference_grid: Grid size that sets h; the defaults give h = 0.0171428….
        samples: Number of uniform points in [−span, span]²; 0 leaves the nine points of the stencil.
        seed: Seed of the uniform points.

    Returns:
        9 + samples points in the order centre; (+h,0) (−h,0) (0,+h) (0,−h) (+h,+h) (−h,+h) (+h,−h) (−h,−h); samples.

    Raises:
        ValueError: If span is not positive, reference_grid is below 2 or samples is negative.

    Example:
        >>> sparse_stencil(samples=0).coordinates[1].round(7).tolist()
        [0.0171429, 0.0]
    """
    if reference_grid < 2:
        raise ValueError(f"reference_grid must be at least 2, got {reference_grid}")
    if samples < 0:
        raise ValueError(f"samples must not be negative, got {samples}")
    h = 2 * _positive("span", span) / (reference_grid - 1)
    cross = np.array([(0, 0), *NEIGHBOURS]) * h
    uniform = np.random.default_rng(seed).uniform(-span, span, size=(samples, 2))
    return Points(np.concatenate([cross, uniform]), None, "sparse")


def points(coordinates: ArrayLike) -> Points:
    """Take the user's own points.

    Args:
        coordinates: Shape (N, k), or (N,) for one direction.

    Returns:
        The points, in float64.

    Raises:
        ValueError: If the shape is another, there are none, or a coordinate is not finite.

    Example:
        >>> points([0.0, 0.5]).coordinates.shape
        (2, 1)
    """
    array = np.array(coordinates, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"coordinates must have shape (N, k) with at least one point, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("coordinates must be finite, got NaN or infinity")
    return Points(array, None, "points")
