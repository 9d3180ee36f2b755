"""Whether losses can be shown on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface


def check_log(surface: LossSurface, path: Path, metric: str | None = None) -> None:
    """Check that a surface can be drawn with ``--log``.

    Args:
        surface: What is to be drawn; values that are not finite do not count.
        path: Its file, for the message.
        metric: What is drawn instead of the loss; one that the surface lacks is left to whoever draws.

    Raises:
        ValueError: If a value is zero or negative.
    """
    values = surface.losses if metric is None else surface.metrics.get(metric)
    if values is None:
        return
    finite = values[np.isfinite(values)]
    bad = int((finite <= 0).sum())
    if bad:
        what = "losses" if metric is None else f"values of {metric!r}"
        raise ValueError(
            f"{path}: --log needs {what} above 0, but {bad} of {values.size} are not (the lowest is "
            f"{finite.min():.3g}); leave out --log"
        )
