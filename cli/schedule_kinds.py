"""The schedules that the command line knows by name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and --help does without
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

KINDS = ("constant", "warmup", "cosine", "wsd", "wsd-s", "stages")
SHAPES = ("linear", "cosine", "sqrt", "inverse")
SHAPED = {"wsd": "linear", "wsd-s": "inverse", "stages": "cosine"}  # each with its default


def named(text: str) -> str:
    """Read the name of a schedule.

    Args:
        text: The argument.

    Returns:
        The same.

    Raises:
        argparse.ArgumentTypeError: If there is none of that name.

    Example:
        >>> named("wsd:sqrt")
        'wsd:sqrt'
    """
    kind, colon, shape = text.partition(":")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(KINDS)}, got {text!r}")
    if colon and (kind not in SHAPED or shape not in SHAPES):
        raise argparse.ArgumentTypeError(
            f"only {', '.join(SHAPED)} take a shape, one of {', '.join(SHAPES)}, as in wsd:sqrt; got {text!r}"
        )
    return text


def maker(name: str, arguments: argparse.Namespace) -> Callable[[Optimizer], LRScheduler]:
    """Choose the factory of a schedule.

    Args:
        name: The schedule, perhaps with a shape.
        arguments: Of the command.

    Returns:
        A function from an optimizer to its scheduler.
    """
    from .. import schedulers

    kind, _, given = name.partition(":")
    shape: Any = given or SHAPED.get(kind)
    steps, warmup, stages = arguments.steps, arguments.warmup, min(arguments.stages, arguments.steps)
    ends = [round(steps * (i + 1) / stages) for i in range(stages)]
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    lowest = 0.0 if arguments.floor is None else arguments.floor
    if shape == "inverse" and arguments.floor is None:
        lowest = 0.1
    if kind == "cosine":
        return lambda optimizer: schedulers.cosine(optimizer, steps, warmup=warmup, floor=lowest)
    if kind == "wsd":
        return lambda optimizer: schedulers.wsd(
            optimizer, steps, warmup=warmup, decay=arguments.decay, shape=shape, floor=lowest
        )
    if kind == "wsd-s":
        return lambda optimizer: schedulers.wsd_s(
            optimizer, ends, warmup=warmup, decay=arguments.decay, shape=shape, floor=lowest
        )
    if kind == "stages":
        peaks = [arguments.restart**i for i in range(stages)]
        return lambda optimizer: schedulers.multi_stage(
            optimizer, lengths, peaks=peaks, warmup=warmup, shape=shape, floor=lowest
        )
    return lambda optimizer: schedulers.linear_warmup(optimizer, warmup)
