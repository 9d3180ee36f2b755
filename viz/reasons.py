"""One mark for each reason to change, or to keep, a learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .style import Theme

# Shape tells the direction, colour the family, so that either alone suffices: up triangles accelerate, down triangles
# slow down (hollow: a little), round marks keep or follow, crosses are measurements that could not be used. Numbers
# index theme.series.
KNOWN: dict[str, tuple[str, int]] = {
    "flat": ("^", 2),
    "very sharp": ("v", 1),
    "moderately sharp": ("v", 4),
    "high variance": ("D", 3),
    "rugged": ("D", 4),
    "decelerate": ("v", 6),
    "neutral": ("o", 5),
    "curvature": ("o", 0),
    "ascent": ("^", 0),
    "turn": ("v", 3),
    "hold": ("o", 3),
    "rougher": ("v", 0),
    "smoother": ("^", 4),
    "even": ("o", 4),
    "metric": ("o", 2),
    "edge": ("v", 2),
    "free": ("^", 5),
    "high kappa": ("v", 5),
    "low kappa": ("^", 6),
    "ramp": ("^", 3),
    "sharp": ("D", 1),
    "usual": ("o", 6),
    "layers": ("D", 2),
    "growing": ("^", 1),
    "skipped": ("x", 6),
    "brake": ("s", 6),
    "saddle": ("P", 4),
    "reference": ("*", 4),
    "non-finite": ("X", 6),
}
HOLLOW = {"moderately sharp"}
RULE = " (rule)"  # TopoCNNLR decided by rule, since its network is not trained yet: the same mark, hollow
SPARE = (("<", 0), (">", 1), ("p", 2), ("h", 3), ("d", 5), ("H", 4))


def looks(reasons: Iterable[str], theme: Theme) -> dict[str, dict[str, Any]]:
    """Choose a marker for each reason: always the same for a known one, the next spare one for any other.

    Args:
        reasons: Reasons in order of appearance, repeated or not.
        theme: Colours and sizes.

    Returns:
        By reason, properties of a Line2D.

    Example:
        >>> from .style import LIGHT
        >>> looks(["flat", "my own"], LIGHT)["flat"]["marker"]
        '^'
    """
    chosen: dict[str, dict[str, Any]] = {}
    spare = 0
    for reason in reasons:
        if reason in chosen:
            continue
        known = reason.removesuffix(RULE)
        if known in KNOWN:
            marker, color = KNOWN[known]
        else:
            marker, color = SPARE[spare % len(SPARE)]
            spare += 1
        chosen[reason] = {"marker": marker, "color": theme.series[color], "linestyle": "none"}
        if reason in HOLLOW or reason.endswith(RULE):
            chosen[reason] |= {"markerfacecolor": theme.paper, "markeredgecolor": theme.series[color]}
    return chosen
