"""A 2-D landscape with its basins: the merge tree drawn on the contour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from .. import tda
from ..landscape import LossSurface
from .chosen_basins import Basins, read_basins
from .contour import contour
from .field import Field, read_field
from .keys import legend_below, missing_key
from .scale import readable
from .style import Theme, again, current


def basins(
    surface: LossSurface | ArrayLike,
    ax: Axes | None = None,
    *,
    axes: Sequence[ArrayLike] | None = None,
    most: int = 10,
    noise: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
    cells: tda.Cells = "vertices",
    metric: str | None = None,
    log: bool = False,
    mark_center: bool = True,
    label: str | None = None,
    title: str | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw the contour with its basins: bottoms, the passes at which they end, and the basins they join there.

    A solid line leads from a bottom to its pass, a dotted one from there to the deeper basin; they say what belongs
    together and are no paths of descent. The basins are those above the noise, at most ``most`` by persistence,
    numbered from the deepest on: with the same arguments as in :func:`lrscape.viz.merge_tree`.

    Args:
        surface: A surface on a 2-D grid, or an array of shape (n, m) with its ``axes``.
        ax: Where to draw; a new figure by default.
        axes: For an array, the coordinates along both dimensions: n and m ascending numbers.
        most: How many basins to draw at most; the legend says how many are not.
        noise: Standard error of the values, one number or one for each; None takes the surface's own, 0 no noise.
        threshold: Depth up to which basins count as noise, whatever the standard error says.
        confidence: Probability that no basin above the noise is due to it.
        cells: "vertices" or "top"; see :func:`lrscape.tda.merge_tree`.
        metric: Name of a metric of the surface to draw instead of the loss.
        log: Space the levels by equal ratios.
        mark_center: Mark the origin, where the model stands.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.
        **kwargs: For :func:`lrscape.viz.contour`.

    Returns:
        The Axes.

    Raises:
        ValueError: If the data is no 2-D grid or has no finite value, or an argument does not fit it.

    Example:
        >>> u = np.linspace(-1, 1, 41)
        >>> ax = basins((u[:, None] ** 2 - 0.5) ** 2 + u**2, axes=(u, u))
        >>> [text.get_text() for text in ax.texts]
        ['1', '2']
    """
    theme = current()
    field = read_field(surface, dims=2, caller="viz.basins", axes=axes, metric=metric, label=label)
    found = read_basins(
        surface,
        caller="viz.basins",
        most=most,
        cells=cells,
        metric=metric,
        label=label,
        noise=noise,
        threshold=threshold,
        confidence=confidence,
    )
    bottoms = _coordinates(field, found.tree.minima[found.shown])
    hidden = field.center in {tuple(place) for place in found.tree.minima[found.shown].tolist()}
    new = ax is None
    ax = contour(
        surface, ax, axes=axes, metric=metric, log=log, mark_minimum=False, mark_center=mark_center and not hidden,
        label=label, title=title, **kwargs,
    )  # fmt: skip
    handles: list[Artist] = [line for line in ax.lines if str(line.get_label()).startswith(("centre: ", "path "))]
    if field.missing:
        handles.append(missing_key(field.missing, theme))
    _draw_edges(ax, field, found, bottoms, theme)
    handles = [*_draw_marks(ax, field, found, bottoms, theme, mark_center and hidden), *handles]
    if found.left_out:
        handles.append(Line2D([], [], linestyle="none", label=found.left_out))
    with again(ax, theme, new=new):
        legend_below(ax, handles, theme, columns=2)
    return ax


def _coordinates(field: Field, indices: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.stack([axis[places] for axis, places in zip(field.axes, indices.T, strict=True)], axis=1)


def _draw_edges(ax: Axes, field: Field, found: Basins, bottoms: NDArray[np.float64], theme: Theme) -> None:
    casing = [patheffects.Stroke(linewidth=theme.line + 1.2, foreground=theme.outline), patheffects.Normal()]
    for number, parent in enumerate(found.parents):
        if parent >= 0:
            over = _coordinates(field, found.tree.saddles[found.shown[number]][None])[0]
            solid, dotted = np.stack([bottoms[number], over]), np.stack([over, bottoms[parent]])
            ax.plot(*solid.T, color=theme.mark, linewidth=theme.line, path_effects=casing, zorder=3)
            ax.plot(*dotted.T, color=theme.mark, linewidth=theme.line, linestyle=":", path_effects=casing, zorder=3)


def _draw_marks(
    ax: Axes, field: Field, found: Basins, bottoms: NDArray[np.float64], theme: Theme, at_center: bool
) -> list[Artist]:
    bottom: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 8.5, "color": theme.accent}
    bottom |= {"markeredgecolor": theme.mark, "markeredgewidth": theme.hair}
    ax.plot(*bottoms.T, **bottom, zorder=6, clip_on=False)
    for number, place in enumerate(bottoms.tolist(), start=1):
        ax.annotate(
            str(number), place, ha="center", va="center_baseline", fontsize=theme.small - 1, fontweight="bold",
            color=theme.mark, zorder=7, annotation_clip=False,
        )  # fmt: skip
    count = len(bottoms)
    lowest = f"{found.name} {readable(float(found.tree.heights[found.shown[0]]))}"
    text = f"only basin: {lowest}" if count == 1 else f"basins, the deepest 1: {lowest}"
    if at_center and field.center is not None:
        at = [tuple(place) for place in found.tree.minima[found.shown].tolist()].index(field.center)
        text += " (at the centre)" if count == 1 else f" ({at + 1} is at the centre)"
    handles: list[Artist] = [Line2D([], [], label=text, **bottom)]
    joins = found.parents >= 0
    if joins.any():
        over: dict[str, Any] = {"marker": "X", "linestyle": "none", "markersize": 6, "color": theme.mark}
        over |= {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
        passes = _coordinates(field, found.tree.saddles[found.shown[joins]])
        ax.plot(*passes.T, **over, zorder=5, clip_on=False)
        handles.append(Line2D([], [], label="pass to a deeper basin", **over))
    return handles
