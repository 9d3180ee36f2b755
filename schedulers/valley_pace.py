"""What slows down as ValleyLR's run goes on: its probes, its average and, at the end, its rate."""

from __future__ import annotations

SPARSE = 4  # probes per doubling of the steps once the rate is found, at most


def probe_period(interval: int, steps: int, climbing: bool) -> int:
    """Choose the optimizer steps between probes: constant during the ascent, then doubling again and again.

    Args:
        interval: The period during the ascent.
        steps: Optimizer steps taken.
        climbing: Whether the rate still grows.

    Returns:
        The period, in optimizer steps.

    Example:
        >>> [probe_period(1, steps, climbing=False) for steps in (3, 4, 8, 100)]
        [1, 2, 4, 32]
    """
    return interval if climbing else interval << (steps // (SPARSE * interval)).bit_length()


def newest_weight(weight: float, alpha: float, since: int) -> float:
    """Compute the weight of the newest iterate t steps after the turn, 1/(1/w + α·t).

    The average then reaches over a fixed share of the steps since (Shamir and Zhang 2013, arXiv:1212.1824).

    Args:
        weight: w, the weight during the ascent.
        alpha: α, by which the window 1/weight grows per step.
        since: t.

    Returns:
        The weight.

    Example:
        >>> newest_weight(0.5, 0.1, 80)
        0.1
    """
    return 1 / (1 / weight + alpha * since)


def steps_left(total: int | None, taken: int, share: float) -> int | None:
    """Count the steps that are left in the final decay.

    Args:
        total: Optimizer steps in all, if they are known.
        taken: Of them.
        share: That of the decay in the total.

    Returns:
        The steps, 0 beyond the end; None before the decay, or where there is none.

    Example:
        >>> [steps_left(100, taken, 0.2) for taken in (80, 81, 100, 101)], steps_left(None, 7, 0.2)
        ([None, 19, 0, 0], None)
    """
    if total is None or total - taken >= share * total:
        return None
    return max(0, total - taken)
