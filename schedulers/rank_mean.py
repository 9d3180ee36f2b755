"""The mean of what the processes of torch.distributed measure, each on a batch of its own."""

from __future__ import annotations

from collections.abc import Callable

from ..landscape.ranks import Ranks


def rank_mean(measure: Callable[[], list[float]]) -> list[float]:
    """Measure on every rank and average; where torch.distributed is not in use, just measure.

    All ranks get the same numbers, bit for bit, so that rates decided from them stay equal.

    Args:
        measure: Gives as many numbers on every rank.

    Returns:
        The means.

    Raises:
        RuntimeError: If another rank failed.

    Example:
        >>> rank_mean(lambda: [1.0, 2.0])
        [1.0, 2.0]
    """
    ranks = Ranks()
    if ranks.size == 1:
        return measure()
    every = ranks.gather(ranks.jointly(measure))
    return [sum(column) / ranks.size for column in zip(*every, strict=True)]
