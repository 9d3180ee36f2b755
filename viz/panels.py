"""A second panel made from the room of the first."""

from __future__ import annotations

from matplotlib.axes import Axes

from .style import Theme, dress


def panel_below(ax: Axes, theme: Theme, *, share: float = 0.42) -> Axes:
    """Split an Axes: its upper part stays, its lower part becomes a new Axes with the same x axis.

    The new panel lies in the room of the old one, so the rest of the figure stays as it is, with any layout engine or
    none.

    Args:
        ax: The Axes to split.
        theme: Colours and sizes.
        share: Part of the height that the new panel gets.

    Returns:
        The lower Axes.
    """
    figure = ax.figure
    place = ax.get_subplotspec()
    if place is not None:
        rows = place.subgridspec(2, 1, height_ratios=(1 - share, share), hspace=0.12)
        ax.set_subplotspec(rows[0])
        below = figure.add_subplot(rows[1], sharex=ax)
    else:  # placed by hand
        x, y, width, height = ax.get_position().bounds
        below = figure.add_axes((x, y, width, (share - 0.05) * height), sharex=ax)
        ax.set_position((x, y + share * height, width, (1 - share) * height))
    dress(below, theme)
    return below
