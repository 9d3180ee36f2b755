"""The values of a plane as bands of colour between isolines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .field import Field
from .keys import missing_style
from .scale import Scale, together
from .style import Theme


def choose_borders(levels: int | Sequence[float], scale: Scale) -> NDArray[np.float64]:
    """Choose the borders of the bands.

    Args:
        levels: About how many bands, or their borders.
        scale: Range of the values.

    Returns:
        Ascending values.

    Raises:
        ValueError: If levels is neither, or not positive on a logarithmic scale.

    Example:
        >>> choose_borders(4, Scale(1.0, 16.0, log=True)).round(6).tolist()
        [1.0, 2.0, 4.0, 8.0, 16.0]
    """
    if isinstance(levels, int):
        if levels < 2:
            raise ValueError(f"levels must be at least 2 bands, got {levels}")
        return scale.levels(levels)
    borders = np.asarray(levels, dtype=np.float64)
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise ValueError(f"levels must be a number of bands or at least two ascending values, got {levels!r}")
    if scale.log and borders[0] <= 0:
        raise ValueError(f"levels must be above 0 with log=True, got {borders[0]:g}")
    return borders


def fill(
    ax: Axes,
    field: Field,
    borders: NDArray[np.float64],
    theme: Theme,
    *,
    log: bool,
    numbers: bool = False,
    **kwargs: Any,
) -> tuple[ContourSet, Scale]:
    """Draw bands with thin isolines between them, and a hatched ground where a value is not finite.

    On a logarithmic scale the logarithms are drawn: between the points of the grid they are interpolated, not the
    values, whose isolines would lie too close to the bottom of a valley.

    Args:
        ax: Where to draw; its limits stay as they are.
        field: Values on a 2-D grid.
        borders: Of the bands, ascending.
        theme: Colours and sizes.
        log: Whether the colours follow the logarithm.
        numbers: Write the values on the isolines.
        **kwargs: For :meth:`matplotlib.axes.Axes.contourf`.

    Returns:
        The bands, of the places of the values on the scale, and the range that their colours cover.
    """
    u, v = field.axes
    values = np.ma.masked_invalid(field.values.T)
    if field.missing:
        ax.add_patch(Rectangle((u[0], v[0]), u[-1] - u[0], v[-1] - v[0], zorder=0, **missing_style(theme)))
    shown = Scale(float(borders[0]), float(borders[-1]), log)
    low, high = (values.min(), values.max()) if values.count() else (np.inf, -np.inf)
    below, above = low < borders[0], high > borders[-1]
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    places, levels = shown.place(values), shown.place(borders)
    filled = ax.contourf(
        u, v, places, **{"levels": levels, "norm": shown.norm(), "extend": extend, "cmap": theme.cmap, **kwargs}
    )
    inside = (borders > low) & (borders < high)
    if inside.any():
        look: dict[str, Any] = {"colors": theme.outline, "linewidths": 0.5 * theme.hair, "alpha": 0.6}
        look["linestyles"] = "solid"  # by default levels below 0 are dashed, which logarithms of losses below 1 are
        lines = ax.contour(u, v, places, levels=levels[inside], **look)
        if numbers:
            texts = dict(zip(levels[inside].tolist(), together(borders[inside]), strict=True))
            for text in ax.clabel(lines, fontsize=theme.small - 1, fmt=texts):
                text.set(alpha=1.0, path_effects=[patheffects.withStroke(linewidth=1.5, foreground=theme.mark)])
    return filled, shown
