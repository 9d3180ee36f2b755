"""What a schedule is going to do, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def planned_rates(make: Callable[[Optimizer], LRScheduler], lr: float, steps: int) -> NDArray[np.float64]:
    """Run a scheduler on an optimizer that has nothing to train, and list its rates.

    Any torch scheduler will do whose rates depend on nothing but the step, composed ones too. The list is what
    :func:`sgd_bound` takes.

    Args:
        make: Constructs the scheduler for the optimizer that it is given.
        lr: Rate of that optimizer.
        steps: How many optimizer steps.

    Returns:
        The rate of each step, shape (steps,).

    Raises:
        TypeError: If ``make`` constructs something else.
        ValueError: If ``steps`` is less than 1.

    Example:
        >>> from torch.optim.lr_scheduler import ExponentialLR
        >>> planned_rates(lambda optimizer: ExponentialLR(optimizer, 0.5), 0.8, 4).tolist()
        [0.8, 0.4, 0.2, 0.1]
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = make(optimizer)
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"make must construct a torch LRScheduler, got {type(scheduler).__name__}")
    rates = np.empty(steps)
    for t in range(steps):
        rates[t] = float(optimizer.param_groups[0]["lr"])
        if t + 1 < steps:
            optimizer.step()
            scheduler.step()
    return rates
