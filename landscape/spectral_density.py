"""The density of the Hessian's eigenvalues, by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .lanczos import Lanczos, Ritz
from .objective import Objective
from .random_vectors import Randomness, draw, generator_from

CONVERGED = 1e-4  # residual, in widths of the spectrum, below which a Ritz value counts as an eigenvalue
SAME = 0.99  # cosine above which eigenvectors of two runs are one


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """An estimated density of eigenvalues.

    Attributes:
        grid: Where the smoothed density is given, shape (n,), loss per unit² of the parameters.
        density: The smoothed density there; it integrates to 1.
        standard_error: Of the smoothed density, from how the random vectors differ; NaN for a single one.
        sigma: Standard deviation of the Gaussian that every Ritz value was smoothed with, in units of the grid.
        ritz_values: The unsmoothed estimate: point masses, those of all random vectors one after the other, shape (m,).
        ritz_weights: Their masses, which sum to 1.
        vectors: Number of random vectors.
        parameters: P, the number of eigenvalues that the mass 1 stands for.
        hvps: Vectors multiplied.
    """

    grid: NDArray[np.float64]
    density: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    sigma: float
    ritz_values: NDArray[np.float64]
    ritz_weights: NDArray[np.float64]
    vectors: int
    parameters: int
    hvps: int


def _converged(ritz: Ritz) -> NDArray[np.intp]:
    """Number the Ritz values that are eigenvalues, and stand apart from the others."""
    gaps = np.minimum(np.diff(ritz.values, prepend=-np.inf), np.diff(ritz.values, append=np.inf))
    return np.flatnonzero((ritz.residuals <= CONVERGED * np.ptp(ritz.values)) & (ritz.residuals < gaps / 10))


def _simple(runs: list[Lanczos], found: list[Ritz]) -> list[NDArray[np.intp]]:
    """Number, in each run, the eigenvalues that all runs found with the same eigenvector: those that occur once."""
    numbers = [_converged(ritz) for ritz in found]
    vectors = [run.vectors(ritz, chosen) for run, ritz, chosen in zip(runs, found, numbers, strict=True)]
    first: dict[int, list[int]] = {}
    for i in range(len(numbers[0])):
        places = []
        for chosen, others in zip(numbers, vectors, strict=True):
            cosines = (others @ vectors[0][i]).abs().double().cpu().numpy()
            places += [int(chosen[np.argmax(cosines)])] if np.max(cosines, initial=0.0) > SAME else []
        if len(places) == len(runs):
            first[i] = places
    return [np.array([places[r] for places in first.values()], dtype=np.intp) for r in range(len(runs))]


def _masses(ritz: Ritz, known: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    """Weigh Ritz values, those that are simple eigenvalues by what an eigenvalue weighs."""
    weights: NDArray[np.float64] = ritz.coefficients[0] ** 2
    others = np.setdiff1d(np.arange(len(weights)), known)
    rest = 1 - len(known) / size
    if len(others) == 0 and rest > 0:  # some eigenvalues have no value of their own
        return weights
    weights[known] = 1 / size
    if len(others):
        weights[others] *= max(rest, 0.0) / weights[others].sum()
    return weights


def _smooth(
    nodes: NDArray[np.float64], weights: NDArray[np.float64], grid: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    bells = np.exp(-0.5 * ((grid[:, None] - nodes) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    smoothed: NDArray[np.float64] = bells @ weights
    return smoothed


def _quadratures(operator: CurvatureOperator, vectors: int, steps: int, generator: torch.Generator) -> list[Lanczos]:
    starts = draw(operator, vectors, generator)
    runs = [Lanczos(operator, start[None], generator) for start in starts]
    for _ in range(min(steps, operator.size)):
        products = operator.matmat(torch.cat([run.pending for run in runs]))  # all runs in one pass over the data
        for run, product in zip(runs, products, strict=True):
            run.absorb(product[None].clone())
    return runs


def spectral_density(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    *,
    vectors: int = 3,
    steps: int = 40,
    sigma: float | None = None,
    points: int = 1024,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> SpectralDensity:
    r"""Estimate how the eigenvalues of the Hessian are distributed.

    Stochastic Lanczos quadrature (Golub & Welsch 1969; Lin, Saad & Yang 2016, arXiv:1308.5467; for networks Ghorbani,
    Krishnan & Xiao 2019, arXiv:1901.10159): m Lanczos steps from a random vector v give Ritz values θ_j and weights
    w_j = (first component of the j-th eigenvector)², whose point masses match the first 2m moments of the spectrum as v
    sees it, Σ_i (u_iᵀv)² δ(λ − λ_i) / |v|². The average over vectors estimates (1/P)·Σ_i δ(λ − λ_i). All vectors are
    re-orthogonalised, so that no ghost copies of large eigenvalues take weight.

    Differs from the papers: an eigenvalue that has converged in every run, with the same eigenvector, occurs once, so
    that its mass is known, 1/P, and it gets that; what is left is shared by the others in proportion to their weights.
    This takes the noise of (u_iᵀv)² out of the outliers. All vectors are kept: ``vectors`` × m of length P.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        vectors: Number of random vectors.
        steps: m, products per vector.
        sigma: Standard deviation of the smoothing, in loss per unit² of the parameters; by default a hundredth of the
            width of the spectrum.
        points: Length of the grid, which reaches 4·sigma beyond the outermost Ritz values.
        seed: For the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The density, smoothed and as point masses.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> found = spectral_density(model, lambda: (torch.tensor([1.0, 3.0]) * model.weight ** 2).sum() / 2, vectors=2)
        >>> found.ritz_values.round(4).tolist(), found.ritz_weights.round(4).tolist()
        ([1.0, 3.0, 1.0, 3.0], [0.25, 0.25, 0.25, 0.25])
    """
    for name, value, least in (("vectors", vectors, 1), ("steps", steps, 1), ("points", points, 2)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}")
    with opened(model, objective, options) as operator:
        before, size = operator.products, operator.size
        runs = _quadratures(operator, vectors, steps, generator_from(seed))
        hvps = operator.products - before
    found = [run.ritz() for run in runs]
    nodes = [ritz.values for ritz in found]
    finite = all(np.isfinite(ritz.values).all() for ritz in found)
    known = _simple(runs, found) if finite and vectors > 1 else [np.empty(0, np.intp)] * vectors
    masses = [_masses(ritz, simple, size) for ritz, simple in zip(found, known, strict=True)]
    every = np.concatenate(nodes)
    low, high = float(every.min()), float(every.max())
    if sigma is None:
        sigma = (high - low) / 100 or max(abs(high), 1.0) / 100
    grid = np.linspace(low - 4 * sigma, high + 4 * sigma, points)
    curves = np.stack([_smooth(n, w, grid, sigma) for n, w in zip(nodes, masses, strict=True)])
    error = curves.std(0, ddof=1) / np.sqrt(vectors) if vectors > 1 else np.full(points, np.nan)
    return SpectralDensity(
        grid, curves.mean(0), error, sigma, every, np.concatenate(masses) / vectors, vectors, size, hvps
    )
