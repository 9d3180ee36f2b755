"""Titles that fit above what they name."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes

from .keys import room
from .style import Theme


def entitle(ax: Axes, title: str | None, theme: Theme, **place: float) -> None:
    """Set the title of an Axes, on several lines where it is wider than its place.

    Args:
        ax: Any Axes.
        title: None for none. One that has line breaks or formulas stays as it is.
        theme: Sizes.
        **place: For :meth:`matplotlib.axes.Axes.set_title`.

    Example:
        >>> from lrscape.viz import LIGHT
        >>> from matplotlib.figure import Figure
        >>> ax = Figure(figsize=(2, 2)).add_subplot()
        >>> entitle(ax, "A title that is wider than two inches", LIGHT)
        >>> ax.get_title().splitlines()
        ['A title that is wider', 'than two inches']
    """
    if title is None:
        return
    if "$" not in title and "\n" not in title and letters(ax, theme) < len(title):
        title = "\n".join(textwrap.wrap(title, letters(ax, theme), break_long_words=False))
    ax.set_title(title, **place)  # type: ignore[arg-type]  # only y


def letters(ax: Axes, theme: Theme) -> int:
    """Tell how long a title may be.

    Args:
        ax: Any Axes.
        theme: Sizes.

    Returns:
        The number of letters that fit above it, with some air.
    """
    return max(8, int((room(ax) - 12) / (0.6 * (theme.text + 1))))
