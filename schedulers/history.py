"""Why the learning rate changed: one record per observation."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..landscape.files import atomic_write


@dataclass(frozen=True, eq=False)
class Decision:
    """What a scheduler measured and what it did about it.

    Attributes:
        step: Number of optimizer steps taken at the time.
        measurement: The measured numbers by name.
        factors: Our factor on the rate of each parameter group, from this decision on.
        reason: A few words.
        rates: Learning rate of each group with these factors, as the next ``scheduler.step()`` sets them.
    """

    step: int
    measurement: dict[str, float]
    factors: list[float]
    reason: str
    rates: list[float]


class History:
    """The latest decisions, oldest first.

    Args:
        size: How many to keep.
    """

    def __init__(self, size: int) -> None:
        self._decisions: deque[Decision] = deque(maxlen=size)

    def __repr__(self) -> str:
        latest = f", the latest: {self._decisions[-1]}" if self._decisions else ""
        return f"<History of {len(self)} decisions{latest}>"

    def __len__(self) -> int:
        return len(self._decisions)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._decisions)

    def __getitem__(self, index: int) -> Decision:
        return self._decisions[index]

    def append(self, decision: Decision) -> None:
        """Add a decision, dropping the oldest beyond the size.

        Args:
            decision: The newest.
        """
        self._decisions.append(decision)

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object per line, atomically.

        Args:
            path: Where. Numbers that are not finite become null, which every JSON reader knows.
        """
        with atomic_write(path) as file:
            for decision in self._decisions:
                file.write(json.dumps(_strict(asdict(decision)), allow_nan=False).encode() + b"\n")

    def state(self, most: int) -> list[dict[str, Any]]:
        """Give the latest decisions as plain values.

        Args:
            most: How many.

        Returns:
            Dicts that ``torch.load(weights_only=True)`` accepts.
        """
        return [asdict(decision) for decision in list(self._decisions)[-most:]]

    def restore(self, state: Iterable[dict[str, Any]]) -> None:
        """Replace the content.

        Args:
            state: What :meth:`state` gave.
        """
        self._decisions.clear()
        self._decisions.extend(Decision(**entry) for entry in state)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_strict(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
        return None
    return value
