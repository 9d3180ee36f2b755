"""A long scan's finished points, kept in a file from which it can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from .archives import opened_archive
from .engines import Choice, EngineName
from .files import atomic_write
from .identity import differences
from .sums import Totals

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class PartialScan:
    """What is known of a scan that may not be finished.

    Attributes:
        identity: Of the scan, by part.
        choice: How its points are evaluated.
        random: The random state that every pass over the data starts from, of each rank that reads other data.
        done: Which points are finished, shape (N,).
        values: Sums at all points, shape (5, N, m); meaningless where not done.
        batches: Behind each sum.
    """

    identity: Mapping[str, str]
    choice: Choice
    random: list[dict[str, Any]]
    done: NDArray[np.bool_]
    values: NDArray[np.float64]
    batches: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, atomically: a kill at any moment leaves the one before.

        Args:
            path: Where.
        """
        header = {
            "schema": SCHEMA,
            "identity": dict(self.identity),
            "choice": asdict(self.choice),
            "random": self.random,
            "batches": self.batches,
        }
        encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        with atomic_write(path) as file:
            np.savez(file, header=encoded, done=self.done, values=self.values)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> PartialScan:
        """Read what :meth:`save` wrote; no pickled object is ever loaded.

        Args:
            path: The file.

        Returns:
            The partial scan.

        Raises:
            ValueError: If the file is no partial scan, is damaged, or comes from a newer version.
        """
        problem, advice = "is not a partial scan written by lrscape", "; delete it, or name another"
        with opened_archive(path, problem, advice) as archive:
            header = archive.header("header", SCHEMA)
            found = PartialScan(
                identity=header["identity"],
                choice=_checked(Choice(**header["choice"])),
                random=header["random"],
                done=archive["done"].astype(bool),
                values=archive["values"].astype(np.float64),
                batches=int(header["batches"]),
            )
            if found.values.ndim != 3 or len(found.values) != 5 or found.done.shape != (found.values.shape[1],):
                raise ValueError(f"its arrays have shapes {found.done.shape} and {found.values.shape}")
            if not isinstance(found.identity, dict) or not isinstance(found.random, list):
                raise ValueError("its identity or its random states have another form")
            return found

    def check(self, identity: Mapping[str, str], path: str | os.PathLike[str]) -> None:
        """Refuse to go on with a scan of something else.

        Args:
            identity: Of the scan that is asked for.
            path: The file, for the message.

        Raises:
            ValueError: If it is another one; the message says what differs.
        """
        differ = differences(identity, self.identity)
        if differ:
            short = [
                f"{name} (there: {self.identity.get(name, 'none')}; here: {identity.get(name, 'none')})"
                for name in differ
            ]
            raise ValueError(
                f"{os.fspath(path)} holds {int(self.done.sum())} of {len(self.done)} points of another scan: its "
                f"{' and '.join(short)} differ{'s' * (len(differ) == 1)} from what is asked for. Delete it, or name "
                "another file, to start anew"
            )

    def totals(self) -> Totals:
        """Give the sums at all points.

        Returns:
            The sums.
        """
        return Totals(self.values, self.batches)


def _checked(choice: Choice) -> Choice:
    numbers = choice.chunk, choice.threads
    if choice.engine not in get_args(EngineName) or not all(type(n) is int and n >= 1 for n in numbers):
        raise ValueError(f"its engine is {choice}")
    return choice
