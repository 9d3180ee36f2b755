"""A training run on the plane in which it moved most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface, Trajectory
from .anchors import mark_places
from .contour import contour
from .style import current
from .track import read_track


def trajectory(
    surface: LossSurface | ArrayLike,
    ax: Axes | None = None,
    *,
    run: Trajectory | None = None,
    path: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    named: int = 5,
    **kwargs: Any,
) -> Axes:
    """Draw a run's path over the loss on its principal plane, with a dot at every checkpoint.

    The axes say what share of the run's squared distances from the origin each direction holds (Li et al. 2018, section
    7, arXiv:1712.09913): with little of it, the run went elsewhere. The colours under the path are the losses of the
    projections, not those of the checkpoints, which lie off the plane.

    Args:
        surface: Measured along ``run.directions``, or an array of shape (n, m) with its ``axes``.
        ax: Where to draw; a new figure by default.
        run: From :func:`lrscape.landscape.trajectory`; gives the path, and to an array the shares.
        path: The path instead, shape (T, 2); by default that of the run, else the one in the surface's provenance.
        names: Of the checkpoints, T of them; by default the files in the provenance, else their numbers from 0.
        named: About how many of them to name, evenly spaced, first and last included; 0 for none.
        **kwargs: For :func:`lrscape.viz.contour`.

    Returns:
        The Axes.

    Raises:
        TypeError: If run is no trajectory.
        ValueError: If no path is known, or the names do not fit it.

    Example:
        >>> u = np.linspace(-1, 1, 21)
        >>> ax = trajectory(u[:, None] ** 2 + u**2, axes=(u, u), path=[[1, 1], [0.4, 0], [0, 0]])
        >>> [text.get_text() for text in ax.texts]
        ['2', '0', '1']
    """
    if run is not None and not isinstance(run, Trajectory):
        raise TypeError(f"run must come from landscape.trajectory, got {type(run).__name__}")
    told = surface.provenance if isinstance(surface, LossSurface) else {}
    own = path is None and run is None
    found = path if path is not None else run.path if run is not None else told.get("path")
    if found is None:
        raise ValueError(
            "path must hold the run's coordinates in the plane, which this surface does not tell; pass run=, from "
            "landscape.trajectory, or path="
        )
    track = read_track(found)
    if names is None:
        files = told.get("path_checkpoints") if own else None
        names = [str(i) for i in range(len(track))] if files is None else [PurePath(file).stem for file in files]
    if isinstance(names, str) or len(names) != len(track):
        raise ValueError(f"names must name each of the {len(track)} checkpoints, got {names!r}")
    ax = contour(surface, ax, path=track, **kwargs)
    if run is not None and not isinstance(surface, LossSurface):
        for axis, number, share in zip((ax.xaxis, ax.yaxis), (1, 2), run.explained_variance, strict=False):
            axis.set_label_text(f"direction {number} ({100 * share:.3g} % of variance)")
    chosen = spread(track, named)
    mark_places(ax, track[chosen], [names[i] for i in chosen], current(), diamonds=False)
    return ax


def spread(track: NDArray[np.float64], count: int) -> list[int]:
    """Choose points of a path that lie apart: the last, the first, and some at equal lengths along it.

    Args:
        track: Shape (T, 2).
        count: How many, at most; 0 for none.

    Returns:
        Their numbers, the last first, since it matters most where names collide.

    Example:
        >>> spread(np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [4, 0]]), 3)
        [4, 0, 2]
    """
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(track, axis=0), axis=1))])
    wanted = np.linspace(0.0, length[-1], max(count, 0))
    between = [int(np.abs(length - one).argmin()) for one in wanted[1:-1]]
    ends = [len(track) - 1, 0][: max(count, 0)]
    return list(dict.fromkeys([*ends, *between]))
