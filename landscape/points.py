"""Coordinates at which a loss is evaluated; no model in sight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Points:
    """N points in k dimensions.

    Attributes:
        coordinates: Shape (N, k), float64, in units of the directions.
        shape: Shape of the grid if the points form one (row-major, first direction first), else None.
        kind: "grid", "line", "sparse" or "points".
        span: Largest absolute coordinate.
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


def _axis(n: int, span: float) -> NDArray[np.float64]:
    # Symmetric to the last bit with an exact zero and exact ends, which linspace does not promise.
    half = (n - 1) // 2
    return np.arange(-half, half + 1) / half * span


def grid(n: int, span: float = 1.0, dims: int = 2) -> Points:
    """Make a regular grid with its centre exactly on the origin.

    Args:
        n: Points along each dimension; odd, so that one of them is the centre.
        span: Half the width: coordinates run from −span to span, both included.
        dims: Number of dimensions.

    Returns:
        n^dims points; the first coordinate varies slowest.

    Raises:
        ValueError: If n is even or below 3, span is not positive, or dims is below 1.

    Example:
        >>> grid(3, span=0.5).coordinates[:4].tolist()
        [[-0.5, -0.5], [-0.5, 0.0], [-0.5, 0.5], [0.0, -0.5]]
    """
    if n < 3 or n % 2 == 0:
        raise ValueError(
            f"n must be odd and at least 3, so that the centre lies on the grid, got {n}; use {max(3, n + 1)}"
        )
    if dims < 1:
        raise ValueError(f"dims must be at least 1, got {dims}")
    axes = np.meshgrid(*[_axis(n, _positive("span", span))] * dims, indexing="ij")
    return Points(np.stack([axis.ravel() for axis in axes], axis=1), (n,) * dims, "grid")


def line(n: int, span: float = 1.0) -> Points:
    """Make points on a line with the centre exactly on the origin.

    Args:
        n: Number of points; odd.
        span: Coordinates run from −span to span, both included.

    Returns:
        n points in one dimension.

    Raises:
        ValueError: If n is even or below 3, or span is not positive.

    Example:
        >>> line(5).coordinates.ravel().tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    made = grid(n, span, dims=1)
    return Points(made.coordinates, made.shape, "line")


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
