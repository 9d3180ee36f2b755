"""Several landscapes in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ..landscape import LossSurface
from .contour import contour
from .field import plain, read_field
from .line import line
from .scale import choose_scale
from .style import LIGHT, dress

ACROSS = 3  # panels side by side, at most


def compare(
    surfaces: Sequence[LossSurface],
    *,
    labels: Sequence[str] | None = None,
    metric: str | None = None,
    log: bool = False,
    label: str | None = None,
) -> Figure:
    """Draw 1-D surfaces over each other, or 2-D ones side by side with the same colours.

    Args:
        surfaces: Of one dimension, 1 or 2.
        labels: Their names, as many as there are surfaces.
        metric: Name of a metric of the surfaces to draw instead of the loss.
        log: Logarithmic values.
        label: Name of the values, if it is not "loss" or the name of the metric.

    Returns:
        The figure. A colour means the same value in all panels, from the lowest of all surfaces to the highest; the
        paths of trajectories are drawn with them.

    Raises:
        TypeError: If something else than surfaces is given.
        ValueError: If there is none, their dimensions differ or are above 2, the labels do not fit, or there is
            nothing finite to draw.

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
        if not isinstance(surface, LossSurface):
            raise TypeError(f"surfaces must be lrscape.landscape.LossSurface, got {type(surface).__name__}")
    dims = sorted({surface.dims for surface in surfaces})
    if len(dims) > 1 or dims[0] > 2:
        found = " and ".join(f"{d}-D" for d in dims)
        raise ValueError(f"surfaces must be all 1-D or all 2-D to be drawn together, got {found}; draw each alone")
    names = [f"surface {i + 1}" for i in range(len(surfaces))] if labels is None else list(labels)
    if isinstance(labels, str) or len(names) != len(surfaces):
        raise ValueError(f"labels must name each of the {len(surfaces)} surfaces, got {labels!r}")
    if dims == [1]:
        figure = line(surfaces, labels=[plain(name) for name in names], metric=metric, log=log, label=label).figure
        assert isinstance(figure, Figure)
        return figure
    return _panels(surfaces, names, metric, log, label)


def _panels(surfaces: list[LossSurface], names: list[str], metric: str | None, log: bool, label: str | None) -> Figure:
    fields = [read_field(s, dims=2, caller="viz.compare", metric=metric, label=label) for s in surfaces]
    everything = np.concatenate([field.values.ravel() for field in fields])
    for field, name in zip(fields, names, strict=True):
        choose_scale(field.values, log=log, name=f"{field.name} of {name}")
    scale = choose_scale(everything, log=log, name=fields[0].name)
    across = min(ACROSS, len(surfaces))
    down = math.ceil(len(surfaces) / across)
    from matplotlib import pyplot as plt  # here, since it selects a backend

    theme = LIGHT
    with mpl.rc_context(theme.sizes() | theme.colors()):
        figure = plt.figure(figsize=(2.9 * across + 0.6, 3.3 * down), layout="constrained")
        try:
            for i, (surface, name) in enumerate(zip(surfaces, names, strict=True)):
                ax = figure.add_subplot(down, across, i + 1)
                dress(ax, theme)
                path = surface.provenance.get("path")
                limits = (scale.low, scale.high)
                contour(surface, ax, metric=metric, log=log, label=label, limits=limits, path=path, title=plain(name))
                if i % across < across - 1:  # the colour bar is the same for all, and stands at the right edge
                    for inset in list(ax.child_axes):
                        inset.remove()
        except BaseException:
            plt.close(figure)
            raise
        return figure
