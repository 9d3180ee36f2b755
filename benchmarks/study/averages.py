"""Running averages of weights for the controls, without which averaging alone could win."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from lrscape import schedulers
from lrscape.schedulers.averages import RunningAverage


def default(name: str) -> float:
    """Give a default of ValleyLR, so that controls and variants follow it."""
    return float(inspect.signature(schedulers.ValleyLR).parameters[name].default)


def anytime(updates: int) -> float:
    """Weight of the newest iterate in ValleyLR's average after its turn, without the ascent: 1/(1 + α·t).

    The average reaches back over a fixed share of the run, however long that is (Shamir and Zhang 2013,
    arXiv:1212.1824, section 4).
    """
    return 1 / (1 + default("alpha") * updates)


def exponential(updates: int, decay: float = 0.99) -> float:
    """Weight of the newest iterate in an exponential average; a plain mean until that is the longer one."""
    return max(1 - decay, 1 / (updates + 1))


class Average:
    """A running average of all trained parameters and BatchNorm statistics.

    Args:
        model: What to average.
        weight: Of the newest iterate, from the number of iterates before.
    """

    def __init__(self, model: nn.Module, weight: Callable[[int], float]) -> None:
        self._average, self._weight = RunningAverage(model), weight
        self._updates = 0

    def update(self) -> None:
        """Take the present iterate in."""
        self._average.update(self._weight(self._updates))
        self._updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model be its average for a while."""
        with self._average.applied():
            yield
