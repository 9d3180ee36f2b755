"""Figures that are as large as what they hold."""

from __future__ import annotations

from matplotlib.figure import Figure

LEAST = 0.02  # distance to the edge, inches: letters are a little wider at some resolutions than at others
TRIES = 4


def fit(figure: Figure) -> None:
    """Make a figure larger until nothing of it is cut off.

    A layout engine reckons with the room that Axes of a fixed aspect are given, not with the smaller one that they
    take, and with no label of a perspective.

    Args:
        figure: One of the library's own, never the user's.

    Example:
        >>> figure = Figure(figsize=(1, 1))
        >>> _ = figure.text(0, 0.5, "a text of more than one inch")
        >>> fit(figure)
        >>> bool(figure.get_figwidth() > 1)
        True
    """
    for _ in range(TRIES):
        figure.draw_without_rendering()
        box, (wide, tall) = figure.get_tightbbox(), figure.get_size_inches()
        over = (-box.x0, box.x1 - wide, -box.y0, box.y1 - tall)
        left, right, below, above = (max(0.0, float(side) + LEAST) for side in over)
        if max(left, right, below, above) < 0.005:  # less than a hair
            return
        if any(ax.name == "3d" for ax in figure.axes):  # which stay in the middle
            left = right = max(left, right)
            below = above = max(below, above)
        figure.set_size_inches(wide + left + right, tall + below + above)
