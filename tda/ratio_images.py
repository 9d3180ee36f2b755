"""The images that TopoCNN looks at: diagrams of a loss grid on logarithmic axes relative to the centre's loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagrams import read_diagram
from .field import Cells, as_array
from .persistence import persistence

FLOOR = 1e-8
BANDWIDTH = 2.0  # of the Gaussians, in pixels of 1/resolution

Array = NDArray[np.float64]


def log_ratio_image(
    diagram: ArrayLike, center: float, maximum: float, *, resolution: int = 50, cap: float = 5.0
) -> Array:
    """Draw an H0 diagram as TopoAdamW published it.

    x = clip(ln max(ℓ0/(b + 1e-8), 1)/ln cap, 0, 1) and y = clip(ln max(d/(ℓ0 + 1e-8), 1)/ln cap, 0, 1), with essential
    classes dying at the grid's maximum and ℓ0 at least 1e-8. The weight √(x² + y²) is divided by its largest value, the
    Gaussians exp(−r²/2σ²) with σ = 2/resolution are summed at the points linspace(0, 1, resolution)², and the image is
    divided by its maximum.

    Source: Peng, "TopoAdamW", section 3.4 (2026 draft; code topoadamw 0.1.0).

    Args:
        diagram: H0 pairs (birth, death), shape (n, 2), with values on top cells.
        center: ℓ0, the loss at the middle of the grid.
        maximum: Highest loss on the grid.
        resolution: Pixels on each axis.
        cap: Ratio of losses that reaches the end of an axis.

    Returns:
        Shape (resolution, resolution), column = x, row 0 is y = 1; between 0 and 1. Zero if no point has any weight.

    Raises:
        ValueError: If ℓ0 or the maximum is not finite, or resolution or cap is out of range.

    Example:
        >>> image = log_ratio_image([(1.0, float("inf"))], center=1.0, maximum=5.0)
        >>> [int(i) for i in np.unravel_index(image.argmax(), image.shape)]  # x = 0, y = 1
        [0, 0]
    """
    if not (np.isfinite(center) and np.isfinite(maximum)):
        raise ValueError(f"center and maximum must be finite losses, got {center} and {maximum}")
    _check_size(resolution, cap)
    births, deaths = read_diagram(diagram).T
    level = max(float(center), FLOOR)
    with np.errstate(divide="ignore", over="ignore"):
        x = _unit(np.log(np.maximum(level / (births + FLOOR), 1.0)), cap)
        y = _unit(np.log(np.maximum(np.where(np.isinf(deaths), maximum, deaths) / (level + FLOOR), 1.0)), cap)
    weights = np.hypot(x, y)
    if not weights.any():
        return np.zeros((resolution, resolution))
    image = _draw(x, y, weights / weights.max(), resolution)
    scaled: Array = image / image.max()
    return scaled


def published_image(grid: ArrayLike) -> NDArray[np.float32]:
    """Make the input of TopoCNN as it was published, from a grid of losses.

    The sublevel H0 diagram with values on top cells, drawn by `log_ratio_image` at 50×50 and put into both channels.

    Source: Peng, "TopoAdamW", section 3.4 (2026 draft; code topoadamw 0.1.0).

    Args:
        grid: Losses, shape (n, n), n odd.

    Returns:
        Shape (2, 50, 50), float32, between 0 and 1, the same image twice. A constant grid gives zeros.

    Raises:
        ValueError: If the grid is not square, of even size (no centre), or not finite.

    Example:
        >>> published_image([[2, 2, 2], [2, 1, 2], [2, 2, 2]]).shape
        (2, 50, 50)
    """
    losses, center = _square(grid)
    image = log_ratio_image(persistence(losses, "top", max_dimension=0)[0], center, float(losses.max()))
    return np.stack([image, image]).astype(np.float32)


def corrected_image(
    grid: ArrayLike, *, resolution: int = 50, cap: float = 5.0, cells: Cells = "vertices"
) -> NDArray[np.float32]:
    """Make an input for TopoCNN that keeps H1, amplitudes and all births, from a grid of losses.

    For a pair (b, d), with losses at least 1e-8 and essential classes dying at the grid's maximum,
    u = clip(½ + ½ ln(b/ℓ0)/ln cap, 0, 1), v = clip(ln(d/b)/ln cap, 0, 1), and the image is Σ v exp(−r²/2σ²) with
    σ = 2/resolution, sampled at linspace(0, 1, resolution)².

    It differs from `published_image` in four ways. Channel 0 is H0 and channel 1 is H1, where the published code put H0
    in both. Nothing is divided by a maximum, so that a flat surface is dim and a rugged one bright. The weight is the
    (logarithmic) persistence, zero on the diagonal, so that the image changes continuously with the losses; the
    published weight gives a pair of no length far above the centre full brightness. The column shows births above ℓ0
    too, which the published axis clips, and with them where nearly all loops begin.

    Source: the published form as in `published_image`; weights after Adams et al. (2017),
    section 5, arXiv:1507.06217.

    Args:
        grid: Losses, shape (n, n), n odd; 15 or more, since smaller grids rarely hold more than one pair.
        resolution: Pixels on each axis.
        cap: Ratio of losses that reaches the end of an axis.
        cells: "vertices" or "top"; see `persistence`.

    Returns:
        Shape (2, resolution, resolution), float32: H0 and H1; column = u (ℓ0 in the middle), row 0 is v = 1. A constant
        grid gives zeros; a single pair peaks at v, several may add up to more than 1.

    Raises:
        ValueError: If the grid is not square, of even size (no centre), or not finite, or another argument is out of
            range.

    Example:
        >>> bowl = [[5, 5, 5], [5, 1, 5], [5, 5, 5]]
        >>> image = corrected_image(bowl, resolution=51)
        >>> float(image[0, 0, 25]), float(image[1].max())  # birth at the centre's loss, length of ln 5
        (1.0, 0.0)
    """
    _check_size(resolution, cap)
    losses, center = _square(grid)
    level, top = max(center, FLOOR), float(losses.max())
    channels = []
    for points in persistence(losses, cells, max_dimension=1):
        births, deaths = np.maximum(np.where(np.isinf(points), top, points), FLOOR).T
        with np.errstate(over="ignore"):
            u = _unit((np.log(births / level) + np.log(cap)) / 2, cap)
            v = _unit(np.log(deaths / births), cap)
        channels.append(_draw(u, v, v, resolution))
    return np.stack(channels).astype(np.float32)


def _unit(logarithm: Array, cap: float) -> Array:
    place: Array = np.clip(logarithm / np.log(cap), 0.0, 1.0)
    return place


def _draw(x: Array, y: Array, weights: Array, resolution: int) -> Array:
    """Sum separable Gaussians on the unit square, y upwards, as one matrix product."""
    ticks = np.linspace(0.0, 1.0, resolution)
    spread = BANDWIDTH / resolution
    columns, rows = (np.exp(-((ticks - place[:, None]) ** 2) / (2 * spread**2)) for place in (x, y))
    image: Array = (rows * weights[:, None]).T @ columns
    return image[::-1]


def _check_size(resolution: int, cap: float) -> None:
    if resolution < 2:
        raise ValueError(f"resolution must be at least 2 pixels, got {resolution}")
    if not 1 < cap < np.inf:
        raise ValueError(f"cap must be a ratio above 1, got {cap}")


def _square(grid: ArrayLike) -> tuple[Array, float]:
    losses = np.asarray(as_array(grid, "grid", "a square of numbers", floats=True))
    if losses.ndim != 2 or losses.shape[0] != losses.shape[1]:
        raise ValueError(f"grid must be square, shape (n, n), got shape {losses.shape}")
    size = losses.shape[0]
    if size % 2 == 0:
        raise ValueError(
            f"grid must have an odd size, got {size}×{size}, which has no centre; use {size + 1}×{size + 1}"
        )
    invalid = int((~np.isfinite(losses)).sum())
    if invalid:
        raise ValueError(
            f"grid must be finite, got {invalid} of {losses.size} losses that are not; "
            "decelerate on such a probe, or measure it with a smaller span"
        )
    return losses, float(losses[size // 2, size // 2])
