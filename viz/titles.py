"""Titles that fit above what they name."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.textpath import TextPath

from .field import verbatim
from .keys import room
from .labels import shorten
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
    if "$" not in title and "\n" not in title and _width(title, theme.text + 1) > _place(ax):
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
    return max(8, int(_place(ax) / (0.6 * (theme.text + 1))))


def fitting(ax: Axes, names: Sequence[str], theme: Theme, *, size: float, beside: str = "") -> list[str]:
    """Shorten names that are wider than their place above an Axes.

    Args:
        ax: Any Axes; the others are as wide.
        names: Of all Axes, so that they stay apart.
        theme: Sizes.
        size: Of the letters, in points.
        beside: What else is written in the same line.

    Returns:
        A name for each; as given where all fit.

    Example:
        >>> from lrscape.viz import LIGHT
        >>> from matplotlib.figure import Figure
        >>> panels = Figure(figsize=(3, 2)).subplots(1, 2)
        >>> fitting(panels[0], ["direction 3 at 0.0", "direction 3 at 0.4"], LIGHT, size=8.0)
        ['direction 3 at 0.0', 'direction 3 at 0.4']
        >>> fitting(panels[0], ["run_with_seed_1_epoch_10", "run_with_seed_1_epoch_20"], LIGHT, size=8.0)
        ['…10', '…20']
    """
    if all(_width(name + beside, size) <= _place(ax) for name in names):
        return list(names)
    return shorten(names, letters(ax, theme) - len(beside))


def _place(ax: Axes) -> float:
    return room(ax) - 12  # points, with some air


def _width(text: str, size: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks it is told when they are drawn
        return float(TextPath((0, 0), verbatim(text), size=size).get_extents().width) if text.strip() else 0.0
