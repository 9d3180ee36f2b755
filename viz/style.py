"""The visual language that all figures share: colours, sizes, and the Axes they are drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .fitting import fit


@dataclass(frozen=True)
class Theme:
    """Colours and sizes of a figure; another theme is another instance.

    Attributes:
        ink: Text, axes and outlines.
        paper: Background of a new figure, and the casing of marks.
        muted: What should step back: guides, connecting lines.
        missing: Fill of the places where there is no value.
        series: Colours of curves, in order. Okabe and Ito's palette ("Color Universal Design", 2008) without its
            yellow, which is too faint on paper.
        accent: The one colour for a mark on top of a colour map.
        mark: Fill of the other marks there, and the casing of text; the same on every paper.
        outline: Their outline, and isolines.
        cmap: Perceptually uniform and monotone in lightness, so that it survives greyscale.
        text: Size of labels, points.
        small: Size of tick labels and legends, points.
        line: Width of a curve, points.
        hair: Width of isolines, axes and ticks, points.
    """

    ink: str = "#222222"
    paper: str = "#ffffff"
    muted: str = "#8a8a8a"
    missing: str = "#d9d9d9"
    series: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
    accent: str = "#D55E00"
    mark: str = "#ffffff"
    outline: str = "#222222"
    cmap: str = "viridis"
    text: float = 8.0
    small: float = 7.0
    line: float = 1.4
    hair: float = 0.6

    def sizes(self) -> dict[Any, Any]:
        """List the settings that matplotlib reads while it draws on any Axes.

        Returns:
            Values for ``rc_context``.
        """
        return {
            "font.size": self.text,
            "legend.fontsize": self.small,
            "hatch.linewidth": self.hair,
            "axes.formatter.useoffset": False,
        }

    def colors(self) -> dict[Any, Any]:
        """List the settings of a new figure; on the user's own Axes the user's colours stay.

        Returns:
            Values for ``rc_context``.
        """
        inked = ["text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"]
        papered = ["figure.facecolor", "axes.facecolor", "savefig.facecolor"]
        return dict.fromkeys(inked, self.ink) | dict.fromkeys(papered, self.paper) | {"axes.grid": False}


LIGHT = Theme()
DARK = Theme(
    ink="#e8e8e8",
    paper="#15181d",
    muted="#8f969f",
    missing="#3b424b",
    series=("#3D9BDC", "#E5722A", "#1FB58A", "#D58BB5", "#E69F00", "#7CC7F2", "#e8e8e8"),
    accent="#E5722A",
)
THEMES = {"light": LIGHT, "dark": DARK}

_chosen: ContextVar[Theme] = ContextVar("lrscape_theme", default=LIGHT)


def current() -> Theme:
    """Look up the theme in force.

    Returns:
        That of the innermost :func:`theme`, the light one outside of all.
    """
    return _chosen.get()


@contextmanager
def theme(chosen: Theme | str) -> Iterator[Theme]:
    """Put a theme in force for the figures that are drawn meanwhile, in this thread or task alone.

    On Axes of the user's own, text and background keep the user's colours.

    Args:
        chosen: "light", "dark", or a theme of one's own, e.g. ``dataclasses.replace(LIGHT, cmap="cividis")``.

    Yields:
        The theme.

    Raises:
        TypeError: If it is neither a name nor a theme.
        ValueError: If there is no theme of that name.

    Example:
        >>> with theme("dark") as dark:
        ...     current() is dark
        True
    """
    if isinstance(chosen, str):
        if chosen not in THEMES:
            raise ValueError(f"theme must be one of {', '.join(map(repr, THEMES))} or a viz.Theme, got {chosen!r}")
        chosen = THEMES[chosen]
    if not isinstance(chosen, Theme):
        raise TypeError(f"theme must be 'light', 'dark' or a viz.Theme, got {type(chosen).__name__}")
    token = _chosen.set(chosen)
    try:
        yield chosen
    finally:
        _chosen.reset(token)


@contextmanager
def canvas(
    ax: Axes | None, theme: Theme, *, size: tuple[float, float], projection: str | None = None, whole: bool = False
) -> Iterator[Axes]:
    """Provide the Axes to draw on, with the theme in force until the drawing is done.

    Args:
        ax: The user's Axes, or None for a new figure.
        theme: Colours and sizes.
        size: Width and height of a new figure, inches.
        projection: "3d" for a 3-D Axes.
        whole: Make a new figure larger in the end where something would be cut off, as no layout engine does for Axes
            of a fixed aspect.

    Yields:
        The Axes. A figure made here is closed again if the drawing fails.

    Raises:
        TypeError: If ax is no Axes.
        ValueError: If ax has another projection.
    """
    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(f"ax must be a matplotlib Axes, got {type(ax).__name__}; pass figure.add_subplot()")
        if (ax.name == "3d") != (projection == "3d"):
            needed = 'add_subplot(projection="3d")' if projection == "3d" else "add_subplot()"
            raise ValueError(f"ax has the projection {ax.name!r}, which this figure cannot use; make it with {needed}")
        with mpl.rc_context(theme.sizes()):
            dress(ax, theme)
            yield ax
        return
    from matplotlib import pyplot as plt  # here, since it selects a backend

    with mpl.rc_context(theme.sizes() | theme.colors()):
        figure = plt.figure(figsize=size, layout="constrained")
        try:
            made = figure.add_subplot(projection=projection)
            dress(made, theme)
            yield made
            if whole:
                fit(figure)
        except BaseException:
            plt.close(figure)
            raise


@contextmanager
def again(ax: Axes, theme: Theme, *, new: bool) -> Iterator[None]:
    """Put the theme in force once more, to add to what a function has drawn on a plane.

    Args:
        ax: The Axes it has drawn on.
        theme: Colours and sizes.
        new: Whether the figure was made by that function, and grows with what is added; on the user's own Axes the
            user's colours stay.

    Yields:
        Nothing.
    """
    with mpl.rc_context(theme.sizes() | (theme.colors() if new else {})):
        yield
        figure = ax.get_figure(root=True)
        if new and figure is not None:
            fit(figure)


def dress(ax: Axes, theme: Theme) -> None:
    """Set the sizes of what an Axes already holds.

    Args:
        ax: Any Axes.
        theme: Colours and sizes.
    """
    ax.tick_params(which="both", labelsize=theme.small, width=theme.hair, length=2.5)
    ax.tick_params(which="minor", length=1.5)
    for axis in (ax.xaxis, ax.yaxis, getattr(ax, "zaxis", ax.yaxis)):
        axis.label.set_fontsize(theme.text)
        axis.get_offset_text().set_fontsize(theme.small)
    ax.title.set_fontsize(theme.text + 1)
    for spine in ax.spines.values():
        spine.set_linewidth(theme.hair)


def few_ticks(ax: Axes) -> None:
    """Put few round numbers on the coordinate axes, which then fit at the width of a column.

    Args:
        ax: An Axes whose x axis, and y axis if it has equal aspect, holds coordinates.
    """
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2.5, 5, 10]))
    if ax.get_aspect() != "auto":
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2.5, 5, 10]))


def open_frame(ax: Axes) -> None:
    """Leave only the two lines that carry ticks, as curves need.

    Args:
        ax: A 2-D Axes.
    """
    ax.spines[["top", "right"]].set_visible(False)
