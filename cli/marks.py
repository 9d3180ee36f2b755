"""What a surface tells besides its values, on its figure: the path of a run, the checkpoints of a line or plane."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .summary import anchors

if TYPE_CHECKING:  # slow to import, and --help does without
    from matplotlib.axes import Axes

    from ..landscape import LossSurface


def figure_of(surface: LossSurface, kind: str, usual: str) -> tuple[str, dict[str, Any]]:
    """Choose the function that draws a surface with the path or the checkpoints that it tells of.

    Args:
        surface: What is drawn.
        kind: Of the figure.
        usual: The function of that kind in ``lrscape.viz``.

    Returns:
        A name in ``lrscape.viz``, and options for it.
    """
    told = surface.provenance
    if kind == "contour" and told.get("path"):
        return "trajectory", {}
    if kind == "contour" and told.get("anchors"):
        return "plane", {}
    return usual, {"path": told["path"]} if told.get("path") and kind in {"basins", "surface"} else {}


def mark_anchors(axes: Axes, surface: LossSurface, kind: str, metric: str | None) -> None:
    """Name the checkpoints on a contour with basins or, at the height of their own losses, on a line.

    Args:
        axes: With the figure.
        surface: What is drawn.
        kind: Of the figure; on others this does nothing.
        metric: What is drawn instead of the loss; a line has no height for it then.
    """
    found = anchors(surface.provenance)
    if not found or kind not in {"basins", "line"} or (kind == "line" and metric is not None):
        return
    from ..viz.anchors import mark_places
    from ..viz.style import current

    places = np.array([[*one["at"], one["loss"]][:2] for one in found])
    mark_places(axes, places, [PurePath(one["checkpoint"]).name for one in found], current())
