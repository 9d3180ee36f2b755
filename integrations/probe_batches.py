"""Batches for probes where a framework does not hand over those of training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from ..landscape.randomness import preserved

Source = Callable[[int], Any]


class SampledBatches:
    """Draw examples of a dataset at random, as a function of seed and step alone.

    Nothing has to be saved, then: a run that is resumed probes on the same batches. No random state is touched.

    Args:
        dataset: With a length, read by index.
        collate: Makes a batch of a list of examples.
        size: Examples in a batch, different ones; all of them if there are fewer.
        seed: Any text or number; ranks of torch.distributed should differ in it.

    Raises:
        TypeError: If the dataset cannot be read by index.
        ValueError: If it is empty, or the size is not positive.

    Example:
        >>> batches = SampledBatches("abcdefgh", "".join, 3)
        >>> batches(50) == batches(50), len(set(batches(50)))
        (True, 3)
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], size: int, seed: object = 0) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"probes need a dataset with a length that is read by index, got {type(dataset).__name__}; pass "
                "batches= of their own for them"
            )
        if len(dataset) == 0:
            raise ValueError("the dataset for probes is empty")
        if size < 1:
            raise ValueError(f"a batch for probes needs at least one example, got {size}")
        self._dataset, self._collate, self._size, self._seed = dataset, collate, size, seed

    def __call__(self, step: int) -> Any:
        """Draw the batch of a step.

        Args:
            step: Optimizer steps taken.

        Returns:
            What ``collate`` makes of the examples.
        """
        count = len(self._dataset)
        chosen = random.Random(f"{self._seed}:{step}").sample(range(count), min(self._size, count))
        with preserved():
            torch.manual_seed(step)  # augmentation in the dataset; put back at once
            return self._collate([self._dataset[index] for index in chosen])


class CycledBatches:
    """Read batches one after the other from something that can be read again and again.

    Each pass starts from a state of torch's generator that follows from its number, whatever training has drawn, and no
    random state of training is touched. Where reading stands can be saved; going on from there reads over what came
    before in that pass. A loader that shuffles by a generator of its own begins with that generator's state.

    Args:
        batches: A DataLoader, a list of batches or the like.

    Raises:
        TypeError: If it can be read only once.

    Example:
        >>> batches = CycledBatches(["first", "second"])
        >>> [batches(step) for step in (50, 100, 150)], batches.position
        (['first', 'second', 'first'], (1, 1))
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        if isinstance(batches, Iterator):
            raise TypeError(
                f"batches must be readable more than once, got the iterator {type(batches).__name__}; pass the "
                "DataLoader itself or list(...)"
            )
        self._batches = batches
        self._reading: Iterator[Any] | None = None
        self.position = (0, 0)  # passes completed, and batches read in this one

    def __call__(self, step: int) -> Any:
        """Read the next batch.

        Args:
            step: Not needed.

        Returns:
            The batch.

        Raises:
            ValueError: If there is none.
        """
        with preserved():
            number, read = self.position
            if self._reading is None:
                torch.manual_seed(number)  # what a shuffling loader draws its order from; put back at once
                self._reading = islice(iter(self._batches), read, None)
            for batch in self._reading:
                self.position = (number, read + 1)
                return batch
            if read == 0:
                raise ValueError("batches gave no batch; the loss over no data is not defined")
            self.position, self._reading = (number + 1, 0), None
        return self(step)

    def go_on(self, position: Sequence[int]) -> None:
        """Go on where another reading stood.

        Args:
            position: Its ``position``.
        """
        number, read = position
        self.position, self._reading = (number, read), None
