"""The contract of landscape-driven schedulers, as checks that any class can be put through."""

from __future__ import annotations

from collections.abc import Callable

from . import behaviour, composition, lifecycle
from .runs import CASES, Case, Factory, Run

__all__ = ["CASES", "SCHEDULER_CHECKS", "Case", "Factory", "Run", "check_scheduler"]

SCHEDULER_CHECKS: dict[str, Callable[[Factory, Case], None]] = {
    name.removeprefix("check_"): check
    for module in (behaviour, composition, lifecycle)
    for name, check in vars(module).items()
    if name.startswith("check_")
}


def check_scheduler(factory: Factory) -> None:
    """Put a scheduler class through the whole contract, with SGD and AdamW, one and two groups, float and tensor rates.

    Args:
        factory: ``factory(optimizer, model, **options)`` constructs the scheduler; usually the class itself.

    Raises:
        AssertionError: If a check fails; the message says which, with which optimizer, and why.

    Example:
        >>> from lrscape.schedulers import TopoLR
        >>> check_scheduler(TopoLR)
    """
    for name, check in SCHEDULER_CHECKS.items():
        for case in CASES:
            try:
                check(factory, case)
            except AssertionError as error:
                raise AssertionError(f"{name} with {case}: {error}") from error
