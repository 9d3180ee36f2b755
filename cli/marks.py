"""The checkpoints that a line or plane goes through, on its figure."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from .summary import anchors

if TYPE_CHECKING:  # slow to import, and --help does without
    from matplotlib.axes import Axes

    from ..landscape import LossSurface


def path_of(surface: LossSurface, kind: str) -> dict[str, Any]:
    """Find the path of a trajectory, for the figure that can draw it.

    Args:
        surface: What is drawn.
        kind: Of the figure.

    Returns:
        The option "path", or nothing.
    """
    path = surface.provenance.get("path")
    return {"path": path} if path and kind == "contour" else {}


def mark_anchors(axes: Axes, surface: LossSurface, kind: str, metric: str | None) -> None:
    """Name the checkpoints on a contour or, at the height of their own losses, on a line.

    Args:
        axes: With the figure.
        surface: What is drawn.
        kind: Of the figure.
        metric: What is drawn instead of the loss; a line has no height for it then.
    """
    from matplotlib import patheffects

    if kind not in {"contour", "line"} or (kind == "line" and metric is not None):
        return
    for one in anchors(surface.provenance):
        x, y = (*one["at"], one["loss"])[:2]
        name = PurePath(one["checkpoint"]).name
        casing = [patheffects.withStroke(linewidth=2, foreground="white")]
        axes.plot(x, y, marker="D", markersize=4, color="white", markeredgecolor="#222222", zorder=4, linestyle="none")
        axes.annotate(
            name.replace("$", r"\$"), (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=7,
            color="#222222", path_effects=casing, zorder=6,
        )  # fmt: skip
