"""Persistence images: a diagram as a picture of fixed size."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagrams import read_diagram

Array = NDArray[np.float64]
Weight = Callable[[Array, Array], Array]


def persistence_image(
    diagram: ArrayLike,
    *,
    birth_range: tuple[float, float],
    persistence_range: tuple[float, float],
    resolution: int | tuple[int, int] = 50,
    sigma: float | tuple[float, float] | None = None,
    weight: float | Weight = 1.0,
    backend: Literal["lrscape", "persim"] = "lrscape",
) -> Array:
    """Draw a diagram as a persistence image.

    I(pixel) = Σ w(bᵢ, pᵢ) ∫∫_pixel N(x; bᵢ, σ_b²) N(y; pᵢ, σ_p²) dx dy with pᵢ = |dᵢ − bᵢ|: a Gaussian for each point
    in the plane of birth and persistence, integrated over each pixel. The Gaussian is separable, so the sum is one
    matrix product. The image is stable if w is continuous and zero at p = 0, as the default is.

    Source: Adams et al., "Persistence images: a stable vector representation of persistent homology" (2017),
    section 4, arXiv:1507.06217. persim draws the same image from the same ranges; its `sigma` is the variance σ².

    Args:
        diagram: Pairs (birth, death), shape (n, 2), finite; see `finite_points` for essential classes.
        birth_range: Births that the image covers, (low, high), in the units of the values.
        persistence_range: Lengths that it covers, (low, high). Points outside still reach in with their tails.
        resolution: Pixels along births and along lengths; one number for both.
        sigma: Standard deviations along births and lengths, in the units of the values; one number for both; None takes
            the width of a pixel on each axis.
        weight: Exponent n of the weight pⁿ, or a function w(births, lengths) of arrays.
        backend: "lrscape", or "persim" for the reference implementation, which loops over the points.

    Returns:
        Shape resolution; [i, j] is birth pixel i and length pixel j, as in persim.

    Raises:
        ValueError: If the diagram has essential classes or an argument is out of range.

    Example:
        >>> image = persistence_image(
        ...     [(0.25, 1.0)], birth_range=(0, 1), persistence_range=(0, 1), resolution=2, sigma=1e-3
        ... )
        >>> image.round(6).tolist()
        [[0.0, 0.75], [0.0, 0.0]]
    """
    points = read_diagram(diagram)
    if not np.isfinite(points).all():
        raise ValueError(
            f"diagram has {int(np.isinf(points[:, 1]).sum())} essential classes and an image needs finite points; "
            "pass finite_points(diagram), or finite_points(diagram, essential=highest value) to keep them"
        )
    shape = [index(count) for count in np.atleast_1d(resolution)] * (1 if np.ndim(resolution) else 2)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"resolution must be one or two whole numbers of pixels of at least 1, got {resolution}")
    ranges = [_range("birth_range", birth_range), _range("persistence_range", persistence_range)]
    pixels = [(high - low) / count for (low, high), count in zip(ranges, shape, strict=True)]
    spreads = pixels if sigma is None else _pair("sigma", sigma)
    births, deaths = points.T
    lived = np.abs(deaths - births)
    with np.errstate(divide="ignore"):
        weights = weight(births, lived) if callable(weight) else lived**weight
    if weights.shape != births.shape or not np.isfinite(weights).all():
        raise ValueError(f"weight must give one finite number for each of {len(births)} points; check its exponent")
    # In units of pixels, so that edges lie on integers for both backends.
    places = [(x - low) / width for x, (low, _), width in zip((births, lived), ranges, pixels, strict=True)]
    widths = [spread / width for spread, width in zip(spreads, pixels, strict=True)]
    if backend == "persim":
        return _draw_persim(places, widths, shape, weights)
    if backend != "lrscape":
        raise ValueError(f'backend must be "lrscape" or "persim", got {backend!r}')
    along, across = (_shares(x, width, n) for x, width, n in zip(places, widths, shape, strict=True))
    image: Array = along @ (across * weights).T
    return image


def _shares(places: Array, width: float, count: int) -> Array:
    """Integrate each Gaussian over each pixel of one axis; shape (count, n)."""
    from scipy.special import erfc

    edges = np.arange(count + 1)[:, None]
    below = erfc((places - edges) / (width * np.sqrt(2.0)))
    shares: Array = np.diff(below, axis=0) / 2
    return shares


def _draw_persim(places: list[Array], widths: list[float], shape: list[int], weights: Array) -> Array:
    from persim import PersistenceImager

    imager = PersistenceImager(
        birth_range=(0.0, float(shape[0])),
        pers_range=(0.0, float(shape[1])),
        pixel_size=1.0,
        weight=lambda births, lengths: weights,  # noqa: ARG005 - persim passes these, in pixels; ours are known already
        weight_params={},
        kernel_params={"sigma": [[widths[0] ** 2, 0.0], [0.0, widths[1] ** 2]]},
    )
    image: Array = np.asarray(imager.transform(np.column_stack(places), skew=False), dtype=np.float64)
    return image


def _pair(name: str, value: float | tuple[float, float]) -> list[float]:
    given = np.asarray(value, dtype=np.float64)
    if given.shape not in {(), (2,)} or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"{name} must be one or two positive numbers, got {value}")
    pair: list[float] = np.broadcast_to(given, 2).tolist()
    return pair


def _range(name: str, value: tuple[float, float]) -> tuple[float, float]:
    ends = [float(end) for end in value]
    if not (len(ends) == 2 and np.isfinite(ends).all() and ends[0] < ends[1]):
        raise ValueError(f"{name} must be (low, high) with low < high and both finite, got {value}")
    return ends[0], ends[1]
