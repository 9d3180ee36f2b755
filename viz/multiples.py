"""Many small landscapes in one figure, e.g. those of a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ..landscape import LossSurface
from .contour import frame
from .field import Field, read_field, verbatim
from .filled import choose_borders, fill
from .fitting import fit
from .keys import hole_text, label_bar, missing_key
from .labels import name_each
from .scale import Scale, check_positive, choose_scale, together
from .style import Theme, current, dress
from .surface3d import surface3d
from .titles import fitting
from .track import draw_track, read_track

Kind = Literal["contour", "surface"]
NUMBER = " 0.0000"  # stands for the loss in a title
INCHES = {"contour": (1.35, 1.65), "surface": (1.9, 1.75)}  # width and height of a panel with its title


def multiples(
    surfaces: Sequence[LossSurface | ArrayLike],
    *,
    labels: Sequence[str] | None = None,
    kind: Kind = "contour",
    across: int = 5,
    axes: Sequence[ArrayLike] | None = None,
    metric: str | None = None,
    levels: int = 16,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    path: ArrayLike | None = None,
    label: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw 2-D landscapes as small panels that share their colours and, where they can, their axes.

    A colour, and a height, means the same value in all panels. Only the outer panels carry numbers; under each stands
    its loss at the centre, which the white dot marks. Where a value is not finite a panel is hatched, or has a hole.

    Args:
        surfaces: Surfaces on 2-D grids, in the order of training say, or arrays of shape (n, m) with their ``axes``.
        labels: What stands above each panel, e.g. the step; their numbers from 1 by default.
        kind: "contour" from above, or "surface" in perspective.
        across: Panels side by side, at most.
        axes: For arrays, the coordinates along both dimensions, the same for all.
        metric: Name of a metric of the surfaces to draw instead of the loss.
        levels: About how many bands.
        log: Logarithmic values.
        limits: Lowest and highest value of colours and heights; those of all surfaces together by default.
        path: A path in the plane that they share, shape (T, 2). With as many points as there are panels, each shows the
            path so far.
        label: Name of the values, if it is not "loss" or the name of the metric.
        title: A title above all.

    Returns:
        The figure; its Axes are the panels in order, then that of the colour bar.

    Raises:
        ValueError: If there is none, one is no 2-D grid, nothing is finite, or labels or another argument do not fit.

    Example:
        >>> u = np.linspace(-1, 1, 11)
        >>> bowls = [k + u[:, None] ** 2 + u**2 for k in range(3)]
        >>> [ax.get_title() for ax in multiples(bowls, axes=(u, u), labels=["0", "50", "100"]).axes[:3]]
        ['0', '50', '100']
    """
    check_kind(kind)
    if across < 1:
        raise ValueError(f"across must be at least 1 panel, got {across}")
    surfaces = list(surfaces)
    if not surfaces:
        raise ValueError("surfaces must hold at least one, got none")
    names = name_each(labels, len(surfaces))
    fields = [
        read_field(one, dims=2, caller="viz.multiples", axes=axes, metric=metric, label=label) for one in surfaces
    ]
    scale = shared_scale(fields, names, log=log, limits=limits)
    track = None if path is None else read_track(path)
    across = min(across, len(fields))
    down = math.ceil(len(fields) / across)
    from matplotlib import pyplot as plt  # here, since it selects a backend

    theme, (wide, tall) = current(), INCHES[kind]
    with mpl.rc_context(theme.sizes() | theme.colors()):
        figure = plt.figure(figsize=(wide * across + 1.1, tall * down + 0.7), layout="constrained")
        try:
            panels = [
                figure.add_subplot(down, across, i + 1, projection="3d" if kind == "surface" else None)
                for i in range(len(fields))
            ]
            so_far = track is not None and len(track) == len(fields)
            for i, (ax, field) in enumerate(zip(panels, fields, strict=True)):
                name = fitting(ax, names, theme, size=theme.text, beside=NUMBER if kind == "surface" else "")[i]
                dress(ax, theme)
                walked = track[: i + 1] if so_far and track is not None else track
                if kind == "contour":
                    _flat(ax, field, choose_borders(levels, scale), walked, theme, log)
                    _outer(
                        ax,
                        field,
                        left=i % across == 0,
                        bottom=i + across >= len(fields),
                        corner=i == (down - 1) * across,
                    )
                    ax.set_title(verbatim(name), size=theme.text, pad=3)
                else:
                    surface3d(
                        field.values, ax, axes=field.axes, log=log, limits=(scale.low, scale.high), path=walked,
                        label=" ", title=verbatim(name),
                    )  # fmt: skip
                    _bare(ax)
            _explain(figure, panels, fields, choose_borders(levels, scale), scale, theme)
            if title is not None:
                figure.suptitle(title, size=theme.text + 1)
            fit(figure)
        except BaseException:
            plt.close(figure)
            raise
        return figure


def check_kind(kind: str) -> None:
    """Reject an unknown kind of panel.

    Args:
        kind: What the user passed.

    Raises:
        ValueError: If there is none of that name.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(map(repr, get_args(Kind)))}, got {kind!r}")


def shared_scale(
    fields: Sequence[Field], names: Sequence[str], *, log: bool, limits: Sequence[float] | None = None
) -> Scale:
    """Choose one scale for several landscapes.

    Args:
        fields: What is drawn.
        names: Of each, for messages.
        log: Whether the scale is logarithmic.
        limits: Lowest and highest value to show; those of all by default.

    Returns:
        The scale.

    Raises:
        ValueError: If none has a finite value, one a value that a logarithmic scale cannot show, or limits is no range.
    """
    for field, name in zip(fields, names, strict=True):
        if log:
            check_positive(field.values, f"{field.name} of {name}")
    everything = np.concatenate([field.values.ravel() for field in fields])
    return choose_scale(everything, log=log, name=fields[0].name, limits=limits)


def _flat(ax: Axes, field: Field, borders: Any, track: Any, theme: Theme, log: bool) -> None:
    fill(ax, field, borders, theme, log=log)
    if track is not None:
        draw_track(ax, track, theme)
    if field.center is not None:
        edge: dict[str, Any] = {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
        ax.plot(0, 0, "o", markersize=3.5, color=theme.mark, zorder=5, **edge)
    frame(ax, field, track)


def _outer(ax: Axes, field: Field, *, left: bool, bottom: bool, corner: bool) -> None:
    """Leave numbers at the outer panels only, and labels at the one in the lower left corner."""
    ax.locator_params(nbins=3)
    across, up = (label.replace(" (", "\n(") if corner else "" for label in field.labels)
    ax.set(xlabel=across, ylabel=up)
    ax.tick_params(labelbottom=bottom, labelleft=left)


def _bare(ax: Any) -> None:
    """Take from a small perspective what would be too small to read; the colour bar has the heights."""
    for note in list(ax.texts):  # the legend counts the holes
        note.remove()
    ax.set(xlabel="", ylabel="", zlabel="", xticklabels=[], yticklabels=[], zticklabels=[])
    ax.set_box_aspect((1, 1, 0.75), zoom=1.0)


def _explain(
    figure: Figure, panels: Sequence[Axes], fields: Sequence[Field], borders: Any, scale: Scale, theme: Theme
) -> None:
    """Draw the colour bar of all panels, and a legend under them."""
    shown = Scale(float(borders[0]), float(borders[-1]), scale.log)
    bar = figure.colorbar(ScalarMappable(shown.norm(), theme.cmap), ax=list(panels), shrink=0.8, aspect=30, pad=0.02)
    label_bar(bar, theme, shown, fields[0].name)
    centers = [np.nan if field.center is None else float(field.values[field.center]) for field in fields]
    for ax, field, value, number in zip(panels, fields, centers, together(centers, most=6), strict=True):
        if field.center is not None:
            text = number if np.isfinite(value) else "not finite"
            if ax.name == "3d":
                ax.set_title(f"{ax.get_title()}: {text}", size=theme.text, y=0.97)
                continue
            ax.annotate(
                text, (0.97, 0.03), xycoords="axes fraction", ha="right", va="bottom", fontsize=theme.small,
                color=theme.outline, zorder=7,
                bbox={"facecolor": theme.mark, "alpha": 0.75, "linewidth": 0, "pad": 1.2},
            )  # fmt: skip
    handles: list[Artist] = []
    if any(field.center is not None for field in fields):
        edge = {"markeredgecolor": theme.outline, "markeredgewidth": theme.hair}
        look: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 3.5, "color": theme.mark, **edge}
        handles.append(Line2D([], [], **look, label=f"centre, with its {fields[0].name}"))
    missing = sum(field.missing for field in fields)
    if missing:
        holes = Line2D([], [], linestyle="none", label=hole_text(missing))
        handles.append(holes if any(ax.name == "3d" for ax in panels) else missing_key(missing, theme))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=theme.small)
