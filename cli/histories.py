"""Why a run's learning rate changed, as far as its files tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..schedulers import Decision

FIELDS = ("step", "measurement", "factors", "reason", "rates")
DEEP = 8  # levels of dicts and lists in a checkpoint that are searched


def read_history(path: Path) -> list[Decision]:
    """Read a history that must hold something.

    Args:
        path: A file of ``scheduler.history.to_jsonl``.

    Returns:
        The decisions.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a line is no decision, or there is no line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no history {path}; scheduler.history.to_jsonl(path) writes one")
    from ..schedulers.history import History

    found = list(History.from_jsonl(path))
    if not found:
        raise ValueError(f"{path} is empty, so there is no history to show")
    if not all(decision.rates for decision in found):
        raise ValueError(
            f"{path} holds a decision without a rate; scheduler.history.to_jsonl(path) writes them with it"
        )
    return found


def find_history(path: str, unsafe: bool) -> list[Decision]:
    """Look for the history that an lrscape scheduler's ``state_dict`` carries.

    Args:
        path: A checkpoint.
        unsafe: Whether it may hold, and run, anything.

    Returns:
        The longest history in it; empty if there is none.
    """
    from ..landscape import read_checkpoint

    best: list[Decision] = []
    for entries in _histories(read_checkpoint(path, unsafe=unsafe), DEEP):
        try:
            found = [_decision(entry) for entry in entries]
        except (TypeError, ValueError, KeyError):  # something else of that name
            continue
        best = max(best, found, key=len)
    return best


def _histories(content: Any, depth: int) -> Iterator[list[Any]]:
    if depth == 0:
        return
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == "history" and isinstance(value, (list, tuple)):
                yield list(value)
            else:
                yield from _histories(value, depth - 1)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _histories(value, depth - 1)


def _decision(entry: Any) -> Decision:
    """Check one entry of what may be something else of that name."""
    from ..schedulers import Decision

    if not isinstance(entry, Mapping):
        raise TypeError(f"it is a {type(entry).__name__}")
    lacking = [name for name in FIELDS if name not in entry]
    if lacking:
        raise ValueError(f"it has no {', '.join(lacking)}")
    rates = [float(rate) for rate in entry["rates"]]
    if not rates:
        raise ValueError("it has no rate")
    return Decision(
        step=int(entry["step"]),
        measurement={str(name): float(value) for name, value in dict(entry["measurement"]).items()},
        factors=[float(factor) for factor in entry["factors"]],
        reason=str(entry["reason"]),
        rates=rates,
    )
