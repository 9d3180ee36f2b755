"""What measures and decides: found behind the wrappers of frameworks, and asked whether it is time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..optim import Steered
from ..schedulers import LandscapeLR

Prober = LandscapeLR | Steered


def find_probers(*holders: object) -> list[Prober]:
    """Find the landscape-driven schedulers and optimizers in what a framework holds.

    Args:
        *holders: Schedulers, also within SequentialLR, ChainedScheduler or another's ``inner``, optimizers, and
            wrappers that frameworks put around them, in which ``scheduler`` and ``optimizer`` are looked at. Anything
            else has none.

    Returns:
        Each once, in the order in which they were found.

    Example:
        >>> import torch
        >>> from torch.optim.lr_scheduler import ConstantLR, SequentialLR
        >>> from lrscape.schedulers import RiverLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> schedulers = [ConstantLR(optimizer), RiverLR(optimizer)]
        >>> [type(found).__name__ for found in find_probers(SequentialLR(optimizer, schedulers, milestones=[5]))]
        ['RiverLR']
    """
    found: dict[int, Prober] = {}
    for holder in holders:
        for prober in _within(holder):
            found.setdefault(id(prober), prober)
    return list(found.values())


def _within(holder: Any) -> Iterable[Prober]:
    if isinstance(holder, LRScheduler):
        if isinstance(holder, LandscapeLR):
            yield holder
        for member in getattr(holder, "_schedulers", ()):
            yield from _within(member)
    elif isinstance(holder, Steered):
        yield holder
    else:
        wrapped = vars(holder) if hasattr(holder, "__dict__") else {}
        for name in ("scheduler", "optimizer", "_optimizer"):
            if isinstance(wrapped.get(name), (LRScheduler, Optimizer)):
                yield from _within(wrapped[name])


def scheduler_of(prober: Prober) -> LandscapeLR:
    """Find the scheduler that measures and decides.

    Args:
        prober: A scheduler, or an optimizer that steers itself.

    Returns:
        The scheduler; do not step that of an optimizer.
    """
    return prober.controller if isinstance(prober, Steered) else prober


def only_prober(holder: object) -> Prober:
    """Find the one scheduler or optimizer that measures.

    Args:
        holder: It, or a wrapper around it.

    Returns:
        It.

    Raises:
        TypeError: If there is none in it, or more than one.
    """
    found = find_probers(holder)
    if len(found) != 1:
        raise TypeError(
            "expected one landscape-driven scheduler or self-steering optimizer, or a wrapper around it, got "
            f"{type(holder).__name__}" + (f", which holds {len(found)} of them; pass one of these" if found else "")
        )
    return found[0]


def is_due(prober: Prober) -> bool:
    """Tell whether ``probe`` would measure now, without taking its turn as ``due()`` does.

    Args:
        prober: A scheduler, or an optimizer that steers itself.

    Returns:
        Whether it is time.

    Example:
        >>> import torch
        >>> from lrscape.schedulers import RiverLR
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> scheduler = RiverLR(optimizer)
        >>> optimizer.step()
        >>> is_due(scheduler), is_due(scheduler), scheduler.due(), is_due(scheduler)
        (True, True, True, False)
    """
    return scheduler_of(prober).awaits_probe()
