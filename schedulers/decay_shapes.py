"""Four ways for a learning rate to fall from its peak to its floor."""

from __future__ import annotations

import math
from typing import Literal, get_args

DecayShape = Literal["linear", "cosine", "sqrt", "inverse"]


def check_decay(shape: str, floor: float) -> None:
    """Reject a decay that is not defined.

    Args:
        shape: Its name.
        floor: Where it ends, as a fraction of the peak.

    Raises:
        ValueError: If the name is unknown, or the floor is out of range.
    """
    if shape not in get_args(DecayShape):
        raise ValueError(f"shape must be one of {', '.join(get_args(DecayShape))}, got {shape!r}")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is a fraction of the peak and must be from 0 to 1, got {floor}")
    if shape == "inverse" and floor == 0:
        raise ValueError("floor must be above 0 for shape='inverse', which never reaches 0; use e.g. floor=0.1")


def decayed(shape: DecayShape, progress: float, floor: float = 0.0) -> float:
    """Compute how much of the peak is left when a share p of the decay is over.

    With a floor m, the factor is m + (1 − m)·g(p) for

    - linear: g = 1 − p,
    - cosine: g = (1 + cos πp)/2 (Loshchilov and Hutter 2017, arXiv:1608.03983),
    - sqrt: g = 1 − √p (Hägele et al. 2024, arXiv:2405.18392),

    and 1/((1 − p) + p/m) for inverse: the reciprocal of the rate grows linearly (Wen et al. 2024, arXiv:2410.05192).

    Args:
        shape: "linear", "cosine", "sqrt" or "inverse".
        progress: p, from 0 to 1; what lies outside counts as the nearer end.
        floor: m, from 0 to 1; above 0 for "inverse".

    Returns:
        The factor on the peak, from 1 at p = 0 to m at p = 1.

    Example:
        >>> [round(decayed(shape, 0.25, 0.1), 4) for shape in ("linear", "cosine", "sqrt", "inverse")]
        [0.775, 0.8682, 0.55, 0.3077]
    """
    p = min(max(progress, 0.0), 1.0)
    if shape == "inverse":
        return 1 / ((1 - p) + p / floor)
    left = {"linear": 1 - p, "cosine": (1 + math.cos(math.pi * p)) / 2, "sqrt": 1 - math.sqrt(p)}[shape]
    return floor + (1 - floor) * left
