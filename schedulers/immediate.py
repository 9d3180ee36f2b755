"""Set learning rates at once, where waiting for the next step() would cost a step at a rate known to be too high."""

from __future__ import annotations

from .factored import FactoredLR
from .rates import read_rate, write_rate


def holds_rates(scheduler: FactoredLR) -> bool:
    """Tell whether the optimizer's rates are those that a scheduler set last; within a SequentialLR they may not be.

    Args:
        scheduler: The scheduler.

    Returns:
        Whether all groups agree.
    """
    groups, written = scheduler.optimizer.param_groups, scheduler._rates.written
    return len(groups) == len(written) and all(
        float(group["lr"]) == float(rate) for group, rate in zip(groups, written, strict=True)
    )


def write_now(scheduler: FactoredLR) -> None:
    """Set the rates to plain rate × factor now, not at the next ``step()``.

    Args:
        scheduler: Whose factors.
    """
    rates = scheduler._rates
    plain, factors = rates.current_plain(), scheduler._current_factors()
    for group, rate in zip(scheduler.optimizer.param_groups, rates.product(plain, factors), strict=True):
        write_rate(group, rate)
    rates.remember(plain, factors)
    scheduler._last_lr = [read_rate(group) for group in scheduler.optimizer.param_groups]
