"""The contract of landscape-driven schedulers, as checks that any class can be put through."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from . import behaviour, composition, endurance, extremes, lifecycle
from .runs import CASES, Case, Factory, Run

__all__ = ["CASES", "FEW_CASES", "HARD_CHECKS", "SCHEDULER_CHECKS", "Case", "Factory", "Run", "check_scheduler"]

Check = Callable[[Factory, Case], None]


def _checks(*modules: ModuleType) -> dict[str, Check]:
    return {
        name.removeprefix("check_"): check
        for module in modules
        for name, check in vars(module).items()
        if name.startswith("check_")
    }


SCHEDULER_CHECKS = _checks(behaviour, composition, lifecycle)
HARD_CHECKS = _checks(extremes, endurance)  # longer, and what they look at depends little on the optimizer
FEW_CASES = (CASES[0], CASES[-1])


def check_scheduler(factory: Factory) -> None:
    """Put a scheduler class through the whole contract, with SGD and AdamW, one and two groups, float and tensor rates.

    Losses that are not finite, negative, constant or huge, weights that explode and probes that fail are part of it.

    Args:
        factory: ``factory(optimizer, model, **options)`` constructs the scheduler; usually the class itself.

    Raises:
        AssertionError: If a check fails; the message says which, with which optimizer, and why. What the scheduler
            itself raises where it should not goes through, with a note that says the same.

    Example:
        >>> from lrscape.schedulers import TopoLR
        >>> check_scheduler(TopoLR)
    """
    for checks, cases in ((SCHEDULER_CHECKS, CASES), (HARD_CHECKS, FEW_CASES)):
        for name, check in checks.items():
            for case in cases:
                try:
                    check(factory, case)
                except AssertionError as error:
                    raise AssertionError(f"{name} with {case}: {error}") from error
                except Exception as error:
                    error.add_note(f"raised in the check {name} with {case}")
                    raise
