"""Numbers that describe a surface: sharpness and variance as published, and a quadratic fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .points import NEIGHBOURS
from .surface import LossSurface

EPSILON = 1e-8


def sharpness(center: float, neighbours: ArrayLike) -> float:
    """Compute how much higher the neighbours of a point lie, relative to its loss.

    s = (mean of the neighbours − ℓ0)/(ℓ0 + 1e-8). Source: Peng, "TopoAdamW", Eq. 2 (2026 draft). It depends on the
    scale of the loss and, as (step)², on the distance of the neighbours: compare only what was measured alike.

    Args:
        center: ℓ0.
        neighbours: Losses of the eight neighbours.

    Returns:
        The sharpness, without unit; negative where the neighbours lie lower.

    Example:
        >>> round(sharpness(2.0, [3.0, 3.0]), 6)
        0.5
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return float((np.mean(np.asarray(neighbours, dtype=np.float64)) - center) / (np.float64(center) + EPSILON))


def variance(losses: ArrayLike) -> float:
    """Compute the coefficient of variation that TopoAdamW calls variance.

    v = σ/(μ + 1e-8) with the population σ. Source: Peng, "TopoAdamW", Eq. 3 (2026 draft), whose text says sample
    standard deviation while its code takes the population's. It is close to a threshold on the loss itself: on the
    authors' own log, v·ℓ0 stays within .117 to .138 for 50 epochs.

    Args:
        losses: Losses at all points of a probe.

    Returns:
        The variance, without unit.

    Example:
        >>> round(variance([1.0, 3.0]), 6)
        0.5
    """
    array = np.asarray(losses, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return float(np.std(array) / (np.mean(array) + EPSILON))


def neighbours(surface: LossSurface) -> NDArray[np.float64]:
    """Find the losses of the eight neighbours of the centre.

    Args:
        surface: A 2-D grid with its centre on the origin, or a sparse stencil.

    Returns:
        Shape (8,), in the order of :func:`~lrscape.landscape.sparse_stencil`.

    Raises:
        ValueError: If the surface is neither.
    """
    if surface.dims != 2 or surface.center_index is None:
        raise ValueError(
            f"neighbours need a 2-D surface with the origin among its points, got {surface.dims} dimensions"
            f"{'' if surface.center_index is not None else ' without the origin'}"
        )
    if surface.shape is not None:
        row, column = np.unravel_index(surface.center_index, surface.shape)
        if not (0 < row < surface.shape[0] - 1 and 0 < column < surface.shape[1] - 1):
            raise ValueError("neighbours need the origin inside the grid, but it lies on its edge")
        return np.array([surface.values[row + i, column + j] for i, j in NEIGHBOURS])
    if len(surface) < 9 or surface.center_index != 0:
        raise ValueError("neighbours need a grid or a sparse_stencil; these points are neither")
    return surface.losses[1:9]


@dataclass(frozen=True, eq=False)
class QuadraticFit:
    """A quadratic fitted to losses: L(c) ≈ a + gᵀc + ½cᵀHc.

    Attributes:
        center: a, the fitted loss at the origin.
        gradient: g, shape (k,), loss per unit of the directions.
        hessian: H, shape (k, k), loss per unit².
        roughness: Root mean square of what the fit leaves, in units of the loss.
        relative_roughness: The same over the root mean square deviation of the losses from their mean: the share of
            the surface's variation that is no bowl, 0 to 1.
        points: Number of finite losses used.
    """

    center: float
    gradient: NDArray[np.float64]
    hessian: NDArray[np.float64]
    roughness: float
    relative_roughness: float
    points: int

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """Eigenvalues of H, ascending, loss per unit²; NaN where the fit failed."""
        if not np.isfinite(self.hessian).all():
            return np.full(len(self.gradient), np.nan)
        return np.asarray(np.linalg.eigvalsh(self.hessian), dtype=np.float64)


def quadratic_fit(coordinates: ArrayLike, losses: ArrayLike) -> QuadraticFit:
    """Fit a quadratic to losses at points by least squares.

    min over (a, g, H) of Σ (a + gᵀc + ½cᵀHc − L(c))². The curvature is per unit of the directions, so that probes of
    different spacing agree: the published sharpness of one surface is 5.4 times larger on a 7×7 grid than on the
    stencil.

    Args:
        coordinates: Shape (N, k).
        losses: Shape (N,); those that are not finite are left out.

    Returns:
        The fit; NaN throughout if too few finite losses are left to determine it.

    Raises:
        ValueError: If the shapes do not match or the points cannot determine a quadratic.

    Example:
        >>> c = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1]])
        >>> quadratic_fit(c, 3 * c[:, 0] ** 2 + c[:, 0] * c[:, 1]).hessian.round(6).tolist()
        [[6.0, 1.0], [1.0, 0.0]]
    """
    c = np.asarray(coordinates, dtype=np.float64)
    values = np.asarray(losses, dtype=np.float64)
    if c.ndim != 2 or values.shape != (len(c),):
        raise ValueError(f"coordinates must have shape (N, k) and losses (N,), got {c.shape} and {values.shape}")
    k = c.shape[1]
    scale = float(np.abs(c).max(initial=0)) or 1.0
    rows, columns = np.triu_indices(k)
    needed = 1 + k + len(rows)
    x = c / scale
    halves = np.where(rows == columns, 0.5, 1.0)
    design = np.concatenate([np.ones((len(c), 1)), x, x[:, rows] * x[:, columns] * halves], axis=1)
    if np.linalg.matrix_rank(design) < needed:
        raise ValueError(
            f"these {len(c)} points do not determine a quadratic in {k} dimensions ({needed} coefficients); use "
            "sparse_stencil or a grid of at least 3 points a side"
        )
    finite = np.isfinite(values)
    if np.linalg.matrix_rank(design[finite]) < needed:
        return _unknown(k, int(finite.sum()))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite, and says so
        return _fitted(c, values, finite, design, scale)


def _fitted(
    c: NDArray[np.float64],
    values: NDArray[np.float64],
    finite: NDArray[np.bool_],
    design: NDArray[np.float64],
    scale: float,
) -> QuadraticFit:
    k = c.shape[1]
    rows, columns = np.triu_indices(k)
    offset = values[finite].mean()  # taken out first, or a large loss would cost the digits of the curvature
    if not np.isfinite(values[finite] - offset).all():
        return _unknown(k, int(finite.sum()))
    solution = np.linalg.lstsq(design[finite], values[finite] - offset, rcond=None)[0]
    residual = values[finite] - offset - design[finite] @ solution
    hessian = np.zeros((k, k))
    hessian[rows, columns] = hessian[columns, rows] = solution[1 + k :] / scale**2
    roughness = float(np.sqrt(np.mean(residual**2)))
    spread = float(np.std(values[finite]))
    return QuadraticFit(
        center=float(solution[0] + offset),
        gradient=solution[1 : 1 + k] / scale,
        hessian=hessian,
        roughness=roughness,
        relative_roughness=min(roughness / spread, 1.0) if spread > 0 else 0.0,
        points=int(finite.sum()),
    )


def _unknown(k: int, points: int) -> QuadraticFit:
    nan = float("nan")
    return QuadraticFit(nan, np.full(k, nan), np.full((k, k), nan), nan, nan, points)


@dataclass(frozen=True, eq=False)
class Features:
    """What a probe says about a surface.

    Attributes:
        center: Loss at the origin.
        sharpness: As published, Eq. 2.
        variance: As published, Eq. 3, with the population standard deviation.
        fit: Quadratic fit to the centre and its eight neighbours.
    """

    center: float
    sharpness: float
    variance: float
    fit: QuadraticFit


def features(surface: LossSurface) -> Features:
    """Describe a 2-D surface around its centre.

    Args:
        surface: A 2-D grid with its centre on the origin, or a sparse stencil.

    Returns:
        The published features, and the quadratic fit to the nine points in the middle.
    """
    around = neighbours(surface)
    if surface.shape is None:
        stencil = surface.coordinates[:9]
    else:
        row, column = np.unravel_index(surface.center_index or 0, surface.shape)
        grid = surface.coordinates.reshape(*surface.shape, 2)
        stencil = np.array([grid[row + i, column + j] for i, j in ((0, 0), *NEIGHBOURS)])
    return Features(
        center=surface.center,
        sharpness=sharpness(surface.center, around),
        variance=variance(surface.losses),
        fit=quadratic_fit(stencil, [surface.center, *around]),
    )
