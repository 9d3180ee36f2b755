"""What a scan has so far: its sums, in memory and in a file, and its progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .engines import Choice
from .partial_scan import PartialScan
from .random_state import State
from .sums import Totals

BETWEEN_SAVES = 10.0  # seconds; about this much work is lost with the process
SAVING = 0.02  # of the time at most, where saving is slow


class Kept:
    """The sums of a scan, and the file that holds them while they grow.

    Args:
        count: Number of points.
        path: The file; None for none.
    """

    def __init__(self, count: int, path: str | os.PathLike[str] | None) -> None:
        self.done = np.zeros(count, dtype=bool)
        self.values: NDArray[np.float64] | None = None
        self.batches = 0
        self._path = path
        self._saved, self._cost, self._fresh = time.monotonic(), 0.0, False
        self._about: tuple[dict[str, str], list[State]] = ({}, [])

    def describe(self, about: dict[str, str], states: list[State]) -> None:
        """Say what the file is about.

        Args:
            about: Identity of the scan.
            states: Random state at its start, by rank.
        """
        self._about = about, states

    def take(self, found: PartialScan) -> None:
        """Start from what a file holds.

        Args:
            found: The file.
        """
        self.done, self.values, self.batches = found.done.copy(), found.values.copy(), found.batches

    def add(self, start: int, totals: Totals) -> None:
        """Add finished points.

        Args:
            start: Number of the first.
            totals: Sums at them.
        """
        if self.values is None:
            self.values = np.full((5, len(self.done), totals.values.shape[2]), np.nan)
        stop = start + totals.values.shape[1]
        self.values[:, start:stop] = totals.values
        self.done[start:stop] = True
        self.batches, self._fresh = totals.batches, True

    def save(self, choice: Choice, now: bool = False) -> None:
        """Write the file if it is time for it.

        Args:
            choice: How points are evaluated.
            now: Whether it is time in any case.
        """
        waited = time.monotonic() - self._saved
        if self._path is None or self.values is None or not self._fresh:
            return
        if now or waited > max(BETWEEN_SAVES, self._cost / SAVING):
            start = time.monotonic()
            about, states = self._about
            PartialScan(about, choice, states, self.done, self.values, self.batches).save(self._path)
            self._saved, self._fresh = time.monotonic(), False
            self._cost = self._saved - start


class Bar:
    """A progress bar over evaluations, with their rate and the time left.

    Args:
        units: Batches that one rank reads; None if that is not known.
        count: Number of points.
        done: Points that are finished already.
        shown: Whether to show it.
        ranks: Ranks for which this one counts.
    """

    def __init__(self, units: int | None, count: int, done: int, shown: bool, ranks: int) -> None:
        self._times = ranks
        self._bar = tqdm(
            total=None if units is None else units * count * ranks,
            initial=0 if units is None else units * done * ranks,
            disable=not shown,
            unit="pass",
            desc="lrscape",
            smoothing=0.1,
        )

    def __enter__(self) -> Callable[[int], object]:
        return (lambda n: self._bar.update(n * self._times)) if not self._bar.disable else (lambda _: None)

    def __exit__(self, *_: object) -> None:
        self._bar.close()
