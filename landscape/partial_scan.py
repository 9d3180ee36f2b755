"""A long scan's finished points, kept in a file from which it can go on."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engines import Choice
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
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes().decode())
                if header["schema"] > SCHEMA:
                    raise ValueError(f"it has schema {header['schema']}, this lrscape reads up to {SCHEMA}")
                found = PartialScan(
                    identity=header["identity"],
                    choice=Choice(**header["choice"]),
                    random=header["random"],
                    done=archive["done"].astype(bool),
                    values=archive["values"].astype(np.float64),
                    batches=int(header["batches"]),
                )
                if found.values.ndim != 3 or found.done.shape != (found.values.shape[1],):
                    raise ValueError(f"its arrays have shapes {found.done.shape} and {found.values.shape}")
                return found
        except (ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{os.fspath(path)} is not a partial scan written by lrscape ({error}); delete it, or name another"
            ) from error

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
