"""Read a loss off a finished run."""

from __future__ import annotations

import math
from typing import Literal

from .records import Record

Part = Literal["validation", "test"]
Weights = Literal["raw", "average"]


def loss(record: Record, weights: Weights, part: Part, share: float | None = None) -> float:
    """Give a loss.

    Args:
        record: The run.
        weights: The optimizer's, or their average.
        part: Of the data.
        share: Of the budget; by default where the run ends.

    Returns:
        The loss; infinity if the run had diverged by then.
    """
    return value(record, weights, part, "loss", share)


def value(record: Record, weights: Weights, part: Part, name: str, share: float | None = None) -> float:
    """Give a loss or an accuracy, likewise; infinity stands for what was not finite or not reached."""
    step = round(record["steps"] * (record["horizon"] if share is None else share))
    found = record["reads"].get(str(step), {}).get(weights, {}).get(part, {}).get(name)
    return math.inf if found is None else float(found)
