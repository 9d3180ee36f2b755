"""Keys to a picture, placed beside the data and never over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from .scale import Scale, together
from .style import Theme


def color_bar(mappable: ScalarMappable, ax: Axes, theme: Theme, scale: Scale, label: str) -> None:
    """Draw a colour bar exactly as tall as the Axes.

    Args:
        mappable: What the colours mean, over the places of the scale.
        ax: The Axes it explains.
        theme: Colours and sizes.
        scale: Where to write numbers.
        label: Name of the values.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    if figure.get_layout_engine() is not None:
        beside = ax.inset_axes((1.04, 0.0, 0.05, 1.0))  # the layout makes room for it
    else:
        from mpl_toolkits.axes_grid1 import make_axes_locatable  # takes the room from the Axes itself

        beside = make_axes_locatable(ax).append_axes("right", size="5%", pad=0.06)
    label_bar(figure.colorbar(mappable, cax=beside), theme, scale, label)


def label_bar(bar: Colorbar, theme: Theme, scale: Scale, label: str) -> None:
    """Write numbers and a name beside a colour bar.

    Args:
        bar: Of colours over the places of the scale.
        theme: Sizes.
        scale: Where to write numbers.
        label: Name of the values.
    """
    ticks = scale.ticks()
    bar.set_ticks(scale.place(ticks).tolist(), labels=together(ticks))
    bar.minorticks_off()
    bar.outline.set_linewidth(theme.hair)
    bar.ax.tick_params(labelsize=theme.small, width=theme.hair, length=2.5)
    bar.set_label(label, size=theme.text)


def missing_key(count: int, theme: Theme) -> Patch:
    """Make the legend entry of places without a value.

    Args:
        count: How many points are not finite.
        theme: Colours and sizes.

    Returns:
        A hatched patch with its label.
    """
    points = "point" if count == 1 else "points"
    return Patch(label=f"not finite ({count} {points})", **missing_style(theme))


def hole_text(count: int) -> str:
    """Say what a hole in a surface is.

    Args:
        count: How many points are not finite.

    Returns:
        A note.
    """
    return f"hole: {count} {'point' if count == 1 else 'points'} not finite"


def missing_style(theme: Theme) -> dict[str, Any]:
    """Say how places without a value look.

    Args:
        theme: Colours and sizes.

    Returns:
        Properties of a patch.
    """
    return {"facecolor": theme.missing, "edgecolor": theme.muted, "hatch": "/////", "linewidth": 0}


def room(ax: Axes) -> float:
    """Estimate how wide the place of an Axes in its figure is, with its labels.

    Args:
        ax: Any Axes.

    Returns:
        The width in points.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    whole = mpl.rcParams["figure.subplot.right"] - mpl.rcParams["figure.subplot.left"]
    share = min(1.0, ax.get_position(original=True).width / whole)
    return float(72 * figure.get_figwidth() * share)


def _width(handles: Sequence[Artist], columns: int, theme: Theme) -> float:
    """Estimate the width of a legend in points: per column its longest label, a sample and a gap."""
    lengths = [len(str(handle.get_label())) for handle in handles]
    split = [part for part in np.array_split(lengths, columns) if part.size]  # as matplotlib fills the columns
    return float(sum(0.56 * part.max() + 4.0 for part in split)) * theme.small


def legend_below(ax: Axes, handles: Sequence[Artist], theme: Theme, *, columns: int = 3) -> Legend | None:
    """Put a legend under the label of the x axis.

    The distance is in points, not in fractions of the Axes, so that it fits at every size of the figure.

    Args:
        ax: The Axes it explains.
        handles: Artists with labels; none, no legend.
        theme: Colours and sizes.
        columns: Number of columns, at most; fewer where the labels would not fit side by side.

    Returns:
        The legend.
    """
    if not handles:
        return None
    figure = ax.get_figure(root=True)
    while columns > 1 and _width(handles, columns, theme) > room(ax) - 36:  # labels of the y axis push it to the right
        columns -= 1
    below = offset_copy(ax.transAxes, fig=figure, y=-(2 * theme.small + theme.text + 8), units="points")
    return ax.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=below,
        ncols=min(columns, len(handles)),
        fontsize=theme.small,
        frameon=False,
        borderaxespad=0.0,
        handletextpad=0.5,
        columnspacing=1.2,
    )
