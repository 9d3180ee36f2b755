"""Persistence images, with axes that can be read."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from .. import tda
from .classes import Source, read_classes, read_values
from .keys import color_bar, legend_below
from .scale import Scale, readable, together
from .style import canvas, current
from .titles import entitle

Kind = Literal["ratio", "published", "adams"]
STEPS = (2.0, 5.0, 10.0, 100.0, 1000.0)  # ratios to label, besides 1 and the cap


def persistence_image(
    data: Source,
    ax: Axes | None = None,
    *,
    kind: Kind = "ratio",
    dimension: int = 0,
    resolution: int = 50,
    cap: float = 5.0,
    birth_range: tuple[float, float] | None = None,
    persistence_range: tuple[float, float] | None = None,
    sigma: float | tuple[float, float] | None = None,
    cells: tda.Cells = "vertices",
    metric: str | None = None,
    colorbar: bool = True,
    cmap: Any = None,
    label: str | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a persistence image, with ratios or values on its axes.

    "ratio" is a channel of :func:`lrscape.tda.corrected_image`, "published" that of
    :func:`lrscape.tda.published_image`, "adams" is :func:`lrscape.tda.persistence_image` of the classes that die. On
    the axes of the first two, ≤ and ≥ mark ends at which everything beyond is gathered.

    Args:
        data: A surface or an array of losses on a square grid of odd size; for "adams" on any grid, or ready
            :class:`lrscape.tda.Diagrams`.
        ax: Where to draw; a new figure by default.
        kind: "ratio", "published" or "adams".
        dimension: Homology dimension: for "ratio" the channel, 0 or 1.
        resolution: Pixels along each axis.
        cap: Ratio of losses that reaches the end of an axis; "ratio" only, 5 as published.
        birth_range: Births that an "adams" image covers; those of the classes, with a margin, by default.
        persistence_range: Lengths that it covers, likewise.
        sigma: Its standard deviations; see :func:`lrscape.tda.persistence_image`.
        cells: "vertices" or "top"; always "top" as published.
        metric: Name of a metric of the surface to take instead of the loss.
        colorbar: Draw a colour bar.
        cmap: A colour map, or its name.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title.

    Returns:
        The Axes.

    Raises:
        TypeError: If an image relative to the centre is asked of diagrams, which hold no centre.
        ValueError: If the data is no grid that the image can be made of, or an argument is out of range.

    Example:
        >>> bowl = np.array([[5, 5, 5], [5, 1, 5], [5, 5, 5]])
        >>> persistence_image(bowl).get_xlabel()
        'birth / value at the centre'
    """
    theme = current()
    if kind not in {"ratio", "published", "adams"}:
        raise ValueError(f'kind must be "ratio", "published" or "adams", got {kind!r}')
    note = ""
    if kind == "adams":
        image, extent, names, note = _adams(
            data, dimension, resolution, birth_range, persistence_range, sigma, cells, metric, label
        )
        across = up = None
        scale, meaning = Scale(0.0, float(image.max()) or 1.0, log=False), "sum of length × Gaussian"
    else:
        image, name = _relative(data, kind, dimension, resolution, cap, cells, metric, label)
        cap = cap if kind == "ratio" else 5.0
        margin = 0.5 / (len(image) - 1)  # the outermost samples lie at 0 and 1
        extent = (-margin, 1 + margin, -margin, 1 + margin)
        up = _ticks(cap, centred=False)
        if kind == "ratio":
            across, names = _ticks(cap, centred=True), (f"birth / {name} at the centre", "death / birth")
            meaning = f"length (1 is a ratio of {readable(cap)})"
        else:
            up[1][0] = "≤ 1"
            across, names = up, (f"{name} at the centre / birth", f"death / {name} at the centre")
            meaning = "weight, relative to the largest"
        scale = Scale(0.0, max(1.0, float(image.max())), log=False)
    with canvas(ax, theme, size=(3.8, 3.2)) as ax:
        shown = ax.imshow(
            image, extent=extent, aspect="auto", interpolation="nearest", cmap=cmap or theme.cmap, norm=scale.norm()
        )
        ax.set(xlabel=names[0], ylabel=names[1])
        for axis, ticks in ((ax.xaxis, across), (ax.yaxis, up)):
            places, texts = ticks or _plain_ticks(extent[:2] if axis is ax.xaxis else extent[2:])
            axis.set_ticks(places, labels=texts)
        if colorbar:
            color_bar(shown, ax, theme, scale, meaning)
        entitle(ax, title, theme)
        if note:
            legend_below(ax, [Line2D([], [], linestyle="none", label=note)], theme)
        return ax


def _relative(
    data: Source,
    kind: Kind,
    dimension: int,
    resolution: int,
    cap: float,
    cells: tda.Cells,
    metric: str | None,
    label: str | None,
) -> tuple[NDArray[Any], str]:
    if isinstance(data, tda.Diagrams | tda.MergeTree):
        raise TypeError(
            f'kind="{kind}" is relative to the value at the centre, which {type(data).__name__} does not hold; '
            'pass the surface, or kind="adams"'
        )
    channels = {0, 1} if kind == "ratio" else {0}
    if dimension not in channels:
        raise ValueError(f'dimension must be {" or ".join(map(str, channels))} with kind="{kind}", got {dimension}')
    field = read_values(data, caller="viz.persistence_image", metric=metric, label=label)
    if kind == "ratio":
        return tda.corrected_image(field.values, resolution=resolution, cap=cap, cells=cells)[dimension], field.name
    return tda.published_image(field.values)[0], field.name


def _adams(
    data: Source,
    dimension: int,
    resolution: int,
    birth_range: tuple[float, float] | None,
    persistence_range: tuple[float, float] | None,
    sigma: float | tuple[float, float] | None,
    cells: tda.Cells,
    metric: str | None,
    label: str | None,
) -> tuple[NDArray[np.float64], tuple[float, float, float, float], tuple[str, str], str]:
    classes = read_classes(data, caller="viz.persistence_image", cells=cells, metric=metric, label=label, noise=None)
    if not 0 <= dimension < len(classes.points):
        raise ValueError(f"dimension must be one of 0 to {len(classes.points) - 1}, got {dimension}")
    points = classes.points[dimension]
    finite = tda.finite_points(points)
    births, lengths = finite[:, 0], np.abs(finite[:, 1] - finite[:, 0])
    if not len(finite):  # an empty image, over the range of the values
        births, lengths = classes.ends, np.ptp(classes.ends, keepdims=True)
    across = birth_range or _around(births)
    up = persistence_range or (0.0, 1.1 * float(lengths.max(initial=0.0)) or 1.0)
    image = tda.persistence_image(finite, birth_range=across, persistence_range=up, resolution=resolution, sigma=sigma)
    endless = len(points) - len(finite)
    note = f"left out: {endless} that never {'dies' if endless == 1 else 'die'}" if endless else ""
    name = f"({classes.name})"
    return image.T[::-1], (*across, *up), (f"birth {name}", f"length {name}"), note


def _around(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.1 * (high - low) or 0.05 * abs(low) or 1.0
    return low - margin, high + margin


def _ticks(cap: float, *, centred: bool) -> tuple[list[float], list[str]]:
    """Label ratios from 1 (or from 1/cap, with 1 in the middle) to the cap."""
    inside = [1.0, *[step for step in STEPS if step < 0.9 * cap]]
    ratios = [1 / step for step in reversed(inside[1:])] * centred + inside
    places = [float(np.log(ratio) / np.log(cap)) for ratio in ratios]
    texts = [readable(ratio) for ratio in ratios]
    if centred:
        places = [(1 + place) / 2 for place in [-1.0, *places, 1.0]]
        return places, [f"≤ {readable(1 / cap)}", *texts, f"≥ {readable(cap)}"]
    return [*places, 1.0], [*texts, f"≥ {readable(cap)}"]


def _plain_ticks(ends: tuple[float, ...]) -> tuple[list[float], list[str]]:
    ticks = Scale(ends[0], ends[1], log=False).ticks(6)
    return ticks.tolist(), together(ticks)
