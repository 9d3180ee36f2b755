"""The spectrum of the Hessian: how its eigenvalues are distributed, and the outermost of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ..landscape import SpectralDensity, TopEigenvalues
from .keys import legend_below
from .scale import log_axis, readable
from .style import Theme, canvas, current, open_frame
from .titles import entitle

BELOW = 0.1  # the picture ends at this share of the height of a single eigenvalue
ROOM = 3.0  # between the highest point and the upper edge, as a ratio


def spectrum(
    density: SpectralDensity | ArrayLike,
    ax: Axes | None = None,
    *,
    eigenvalues: TopEigenvalues | None = None,
    log: bool = True,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the smoothed density of the eigenvalues, with the Ritz values that it is made of.

    The dotted line is the peak of a single eigenvalue, smoothed alike: what rises to it and no further is one of P,
    which a linear scale would hide. Short strokes along the lower edge are the Ritz values of all random vectors. The
    band reaches ±2 standard errors.

    Args:
        density: From :func:`lrscape.landscape.spectral_density`; or all eigenvalues of a matrix, shape (P,), which are
            smoothed with a hundredth of their range.
        ax: Where to draw; a new figure by default.
        eigenvalues: From :func:`lrscape.landscape.top_eigenvalues`: marked on the dotted line, with their residuals as
            error bars.
        log: Logarithmic density, which ends at a tenth of the dotted line.
        title: A title.
        **kwargs: For :meth:`matplotlib.axes.Axes.plot`, for the curve.

    Returns:
        The Axes.

    Raises:
        TypeError: If the density is neither, or the eigenvalues are something else.
        ValueError: If the density is not finite, because the loss had diverged.

    Example:
        >>> from torch import nn
        >>> from lrscape.landscape import spectral_density
        >>> model = nn.Linear(3, 1, bias=False)
        >>> spectrum(spectral_density(model, lambda: (model.weight ** 2).sum())).get_ylabel()
        'density of eigenvalues'
    """
    exact = not isinstance(density, SpectralDensity)
    density = density if isinstance(density, SpectralDensity) else _exact(density)
    if eigenvalues is not None and not isinstance(eigenvalues, TopEigenvalues):
        raise TypeError(f"eigenvalues must come from landscape.top_eigenvalues, got {type(eigenvalues).__name__}")
    if not np.isfinite(density.density).all():
        raise ValueError("the density is not finite, so there is nothing to draw: the loss had diverged")
    theme = current()
    single = 1 / (density.parameters * density.sigma * np.sqrt(2 * np.pi))
    floor = BELOW * single if log else 0.0
    with canvas(ax, theme, size=(4.4, 3.0)) as ax:
        open_frame(ax)
        handles: list[Artist] = []
        look = {
            "color": theme.series[0],
            "linewidth": theme.line,
            "label": f"smoothed with σ = {readable(density.sigma)}",
            **kwargs,
        }
        handles += ax.plot(density.grid, density.density, **look)
        handles += _band(ax, density, floor, handles[0].get_color())  # type: ignore[attr-defined]  # a Line2D
        guide: dict[str, Any] = {"color": theme.muted, "linewidth": theme.hair, "linestyle": ":"}
        handles.append(ax.axhline(single, **guide, zorder=1, label="one eigenvalue"))
        if eigenvalues is not None and np.isfinite(eigenvalues.eigenvalues).any():
            handles.append(_ends(ax, eigenvalues, single, theme))
        handles.append(_strokes(ax, density.ritz_values, "eigenvalues" if exact else "Ritz values", theme))
        if log:
            log_axis(ax, np.array([floor, density.density.max()]))
        ax.set_ylim(floor, (ROOM if log else 1.05) * max(float(density.density.max()), single))
        ax.set(xlabel="eigenvalue (loss/step²)", ylabel="density of eigenvalues")
        entitle(ax, title, theme)
        legend_below(ax, handles, theme, columns=2)
        return ax


def _exact(eigenvalues: ArrayLike) -> SpectralDensity:
    try:
        values = np.sort(np.asarray(eigenvalues, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(
            "density must come from landscape.spectral_density, or hold all eigenvalues of a matrix, got "
            f"{type(eigenvalues).__name__}"
        ) from None
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"eigenvalues must have shape (P,) with P ≥ 1, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the eigenvalues are not finite, so there is nothing to draw")
    sigma = float(values[-1] - values[0]) / 100 or max(abs(float(values[-1])), 1.0) / 100
    grid = np.linspace(values[0] - 4 * sigma, values[-1] + 4 * sigma, 1024)
    bells = np.exp(-0.5 * ((grid[:, None] - values) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    weights = np.full(len(values), 1 / len(values))
    return SpectralDensity(grid, bells @ weights, np.full(1024, np.nan), sigma, values, weights, 0, len(values), 0)


def _band(ax: Axes, density: SpectralDensity, floor: float, color: Any) -> list[Artist]:
    if not np.isfinite(density.standard_error).all():  # of a single random vector there is none
        return []
    lower = np.maximum(density.density - 2 * density.standard_error, floor)
    upper = np.maximum(density.density + 2 * density.standard_error, floor)
    ax.fill_between(density.grid, lower, upper, color=color, alpha=0.2, linewidth=0, zorder=1)
    return [Patch(color=color, alpha=0.3, linewidth=0, label="± 2 standard errors")]


def _ends(ax: Axes, found: TopEigenvalues, height: float, theme: Theme) -> Artist:
    known = np.isfinite(found.eigenvalues)
    values, reach = found.eigenvalues[known], found.residuals[known]
    marks: Any = ax.errorbar(  # a container, which legends take like an artist
        values,
        np.full(len(values), height),
        xerr=reach,
        fmt="o",
        color=theme.accent,
        markersize=3.5,
        markeredgecolor=theme.paper,
        markeredgewidth=theme.hair,
        elinewidth=theme.line,
        capsize=2.0,
        label=f"outermost ({len(values)}) ± residual",
        zorder=4,
    )
    drawn: Artist = marks
    return drawn


def _strokes(ax: Axes, values: NDArray[np.float64], name: str, theme: Theme) -> Artist:
    """Mark places along the lower edge, fainter where there are many."""
    look: dict[str, Any] = {"color": theme.ink, "linestyle": "none", "marker": "|", "markersize": 6.0}
    alpha = float(np.clip(30 / len(values), 0.25, 0.9))
    ax.plot(
        values,
        np.full(len(values), 0.02),
        transform=ax.get_xaxis_transform(),
        markeredgewidth=theme.hair,
        alpha=alpha,
        zorder=3,
        **look,
    )
    return Line2D([], [], markeredgewidth=theme.hair, label=f"{name} ({len(values)})", **look)
