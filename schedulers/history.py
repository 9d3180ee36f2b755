"""Why the learning rate changed: one record per observation."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from ..landscape.files import atomic_write
from .plain_values import plain_values


@dataclass(frozen=True, eq=False)
class Decision:
    """What a scheduler measured and what it did about it.

    Attributes:
        step: Number of optimizer steps taken at the time.
        measurement: The measured numbers by name.
        factors: Our factor on the rate of each parameter group, from this decision on.
        reason: A few words.
        rates: Learning rate of each group with these factors, as the next ``scheduler.step()`` sets them.

    Numpy's numbers become Python's.
    """

    step: int
    measurement: dict[str, float]
    factors: list[float]
    reason: str
    rates: list[float]

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            object.__setattr__(self, name, plain_values(value))

    def to_json(self, **more: str) -> str:
        """Write the decision as one line of JSON.

        Args:
            **more: Further entries, which come first.

        Returns:
            The line, without its end. Numbers that are not finite become null, which every JSON reader knows.

        Example:
            >>> Decision(50, {"loss": float("nan")}, [0.8], "non-finite", [8e-4]).to_json()
            '{"step": 50, "measurement": {"loss": null}, "factors": [0.8], "reason": "non-finite", "rates": [0.0008]}'
        """
        return json.dumps(_strict({**more, **asdict(self)}), allow_nan=False)

    @staticmethod
    def from_entry(entry: Any) -> Decision:
        """Check and take one entry of a file of :meth:`History.to_jsonl`, or of the history in a ``state_dict``.

        Args:
            entry: What may be one. None for a number means NaN; further keys are passed over.

        Returns:
            The decision.

        Raises:
            KeyError: If something is missing.
            OverflowError: If a number is beyond all floats.
            TypeError: If something is of the wrong kind.
            ValueError: If the measurement is no mapping.

        Example:
            >>> entry = {"step": 9, "measurement": {"loss": None}, "factors": [1], "reason": "flat", "rates": [0.1]}
            >>> Decision.from_entry(entry).measurement
            {'loss': nan}
        """
        if not isinstance(entry, Mapping):
            raise TypeError(f"it is a {type(entry).__name__}, not an object")
        step, reason = entry["step"], entry["reason"]
        if type(step) is not int or not isinstance(reason, str):
            raise TypeError(f"step {step!r} must be a whole number and reason {reason!r} a text")
        numbers = {str(name): _number(value) for name, value in dict(entry["measurement"]).items()}
        factors, rates = ([_number(value) for value in list(entry[key])] for key in ("factors", "rates"))
        return Decision(step, numbers, factors, reason, rates)


Listener = Callable[[Decision, Decision | None], object]


class History:
    """The latest decisions, oldest first.

    Args:
        size: How many to keep.
    """

    def __init__(self, size: int) -> None:
        self._decisions: deque[Decision] = deque(maxlen=size)
        self._listeners: list[Listener] = []

    def __repr__(self) -> str:
        latest = f", the latest: {self._decisions[-1]}" if self._decisions else ""
        return f"<History of {len(self)} decisions{latest}>"

    def __len__(self) -> int:
        return len(self._decisions)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._decisions)

    @overload
    def __getitem__(self, index: int) -> Decision: ...
    @overload
    def __getitem__(self, index: slice) -> list[Decision]: ...
    def __getitem__(self, index: int | slice) -> Decision | list[Decision]:
        return list(self._decisions)[index] if isinstance(index, slice) else self._decisions[index]

    def append(self, decision: Decision) -> None:
        """Add a decision, dropping the oldest beyond the size, and tell whoever subscribed.

        Args:
            decision: The newest.
        """
        before = self._decisions[-1] if self._decisions else None
        self._decisions.append(decision)
        for listener in tuple(self._listeners):
            listener(decision, before)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a function called with every new decision and the one before it.

        Decisions that come back from a saved state are not new. A copy or pickle of the history has no listeners.

        Args:
            listener: Gets the decision that was just added, and the one before, or None.

        Returns:
            A function that ends it.
        """
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object per line, atomically.

        Args:
            path: Where. Numbers that are not finite become null, which every JSON reader knows.
        """
        with atomic_write(path) as file:
            for decision in self._decisions:
                file.write(decision.to_json().encode() + b"\n")

    @staticmethod
    def from_jsonl(path: str | os.PathLike[str]) -> History:
        """Read what :meth:`to_jsonl` wrote.

        Args:
            path: The file. A null becomes NaN again.

        Returns:
            The decisions, all that the file has.

        Raises:
            OSError: If there is no such file, or it cannot be opened.
            ValueError: If a line is no decision; the message says which.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
            >>> _ = path.write_text('{"step": 9, "measurement": {}, "factors": [1], "reason": "flat", "rates": [0.1]}')
            >>> History.from_jsonl(path)[0].rates
            [0.1]
        """
        found = []
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found.append(Decision.from_entry(json.loads(line)))
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                    raise ValueError(
                        f"{os.fspath(path)}, line {number}, is no decision written by lrscape ({type(error).__name__}: "
                        f"{error}); use another copy of the file, or drop that line"
                    ) from error
        history = History(max(1, len(found)))
        history._decisions.extend(found)
        return history

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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_listeners": []}


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
        return None
    return value
