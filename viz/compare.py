"""Several landscapes in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..landscape import LossSurface
from .contour import contour
from .field import read_field, verbatim
from .fitting import fit
from .labels import name_each, shorten
from .line import line
from .multiples import Kind, check_kind, shared_scale
from .style import current, dress
from .surface3d import surface3d
from .titles import fitting

ACROSS = 3  # panels side by side, at most
LONGEST = 40  # letters of a curve's name
LEGEND = 0.32  # height of the two lines of a legend that a panel has room for, inches


def compare(
    surfaces: Sequence[LossSurface | ArrayLike],
    *,
    labels: Sequence[str] | None = None,
    kind: Kind = "contour",
    axes: Sequence[ArrayLike] | None = None,
    metric: str | None = None,
    log: bool = False,
    label: str | None = None,
) -> Figure:
    """Draw 1-D surfaces over each other, or 2-D ones side by side with the same colours.

    For many, :func:`lrscape.viz.multiples` has smaller panels.

    Args:
        surfaces: Of one dimension, 1 or 2; or arrays with their ``axes``.
        labels: Their names, as many as there are surfaces. Of those that are too long for their place it is shown what
            tells them apart.
        kind: What 2-D panels show: "contour" from above, or "surface" in perspective.
        axes: For arrays, the coordinates along each dimension, the same for all.
        metric: Name of a metric of the surfaces to draw instead of the loss.
        log: Logarithmic values.
        label: Name of the values, if it is not "loss" or the name of the metric.

    Returns:
        The figure. A colour means the same value in all panels, from the lowest of all surfaces to the highest, and so
        does a height; the paths of trajectories are drawn with them. A panel without a finite value is hatched.

    Raises:
        TypeError: If something else than surfaces is given.
        ValueError: If there is none, their dimensions differ or are above 2, the labels do not fit, or there is
            nothing finite to draw in any of them (of 1-D ones, in one of them).

    Example:
        >>> from lrscape.landscape import grid
        >>> points = grid(5)
        >>> bowl = LossSurface(points.coordinates, (points.coordinates**2).sum(axis=1), points.shape)
        >>> len(compare([bowl, bowl], labels=["before", "after"]).axes)
        2
    """
    surfaces = list(surfaces)
    if not surfaces:
        raise ValueError("surfaces must hold at least one, got none")
    for surface in surfaces:
        if not isinstance(surface, LossSurface) and axes is None:
            raise TypeError(
                f"surfaces must be lrscape.landscape.LossSurface, got {type(surface).__name__}; arrays need axes=, the "
                "coordinates along each dimension"
            )
    check_kind(kind)
    dims = sorted({surface.dims if isinstance(surface, LossSurface) else np.ndim(surface) for surface in surfaces})
    if len(dims) > 1 or dims[0] > 2:
        found = " and ".join(f"{d}-D" for d in dims)
        raise ValueError(f"surfaces must be all 1-D or all 2-D to be drawn together, got {found}; draw each alone")
    names = name_each(labels, len(surfaces), usual="surface ")
    if dims == [1]:
        written = [verbatim(name) for name in shorten(names, LONGEST)]
        figure = line(surfaces, labels=written, axes=axes, metric=metric, log=log, label=label).figure
        assert isinstance(figure, Figure)
        return figure
    return _panels(surfaces, names, kind, axes, metric, log, label)


def _panels(
    surfaces: Sequence[LossSurface | ArrayLike],
    names: Sequence[str],
    kind: Kind,
    axes: Sequence[ArrayLike] | None,
    metric: str | None,
    log: bool,
    label: str | None,
) -> Figure:
    fields = [read_field(s, dims=2, caller="viz.compare", axes=axes, metric=metric, label=label) for s in surfaces]
    scale = shared_scale(fields, names, log=log)
    across = min(ACROSS, len(surfaces))
    down = math.ceil(len(surfaces) / across)
    from matplotlib import pyplot as plt  # here, since it selects a backend

    theme = current()
    with mpl.rc_context(theme.sizes() | theme.colors()):
        wide, tall = (2.9, 3.3) if kind == "contour" else (3.5, 3.0)
        figure = plt.figure(figsize=(wide * across + 0.6, tall * down), layout="constrained")
        try:
            for i, surface in enumerate(surfaces):
                ax = figure.add_subplot(down, across, i + 1, projection="3d" if kind == "surface" else None)
                dress(ax, theme)
                draw = contour if kind == "contour" else surface3d
                draw(
                    surface, ax, axes=axes, metric=metric, log=log, label=label, limits=(scale.low, scale.high),
                    path=surface.provenance.get("path") if isinstance(surface, LossSurface) else None,
                    title=verbatim(fitting(ax, names, theme, size=theme.text + 1)[i]),
                )  # fmt: skip
                if kind == "contour" and i % across < across - 1:
                    # The colour bar is the same for all, and stands at the right edge.
                    for inset in list(ax.child_axes):
                        inset.remove()
            rows = [figure.axes[k : k + across] for k in range(0, len(surfaces), across)]
            figure.set_figheight(sum(tall + max(0.0, max(map(_legend, row)) - LEGEND) for row in rows))
            fit(figure)
        except BaseException:
            plt.close(figure)
            raise
        return figure


def _legend(ax: Axes) -> float:
    """Measure the height of a legend, inches."""
    legend = ax.get_legend()
    return 0.0 if legend is None else float(legend.get_window_extent().height / ax.figure.dpi)
