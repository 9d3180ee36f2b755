"""Why a run's learning rate changed, as far as its files tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..schedulers import Decision

DEEP = 8  # levels of dicts and lists in a checkpoint that are searched


def read_history(path: Path) -> list[Decision]:
    """Read a history that must hold something.

    Args:
        path: A file of ``scheduler.history.to_jsonl``.

    Returns:
        The decisions.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a line is no decision, there is no line, or the lines are of several schedulers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no history {path}; scheduler.history.to_jsonl(path) writes one")
    from ..schedulers.history import History

    found = list(History.from_jsonl(path))
    names = _names(path)
    if len(names) > 1:
        raise ValueError(
            f"{path} holds the decisions of several schedulers, {', '.join(map(repr, names))}; keep the lines of one"
        )
    if not found:
        raise ValueError(f"{path} is empty, so there is no history to show")
    if not all(decision.rates for decision in found):
        raise ValueError(
            f"{path} holds a decision without a rate; scheduler.history.to_jsonl(path) writes them with it"
        )
    return found


def _names(path: Path) -> list[str]:
    """List the names by which lines of several schedulers are told apart."""
    with path.open("rb") as file:
        entries = [json.loads(line) for line in file]
    return list(dict.fromkeys(str(entry["name"]) for entry in entries if "name" in entry))


def find_history(path: str, unsafe: bool) -> list[Decision]:
    """Look for the history that an lrscape scheduler's ``state_dict`` carries.

    Args:
        path: A checkpoint.
        unsafe: Whether it may hold, and run, anything.

    Returns:
        The longest history in it; empty if there is none.
    """
    from ..landscape import read_checkpoint
    from ..schedulers import Decision

    best: list[Decision] = []
    for entries in _histories(read_checkpoint(path, unsafe=unsafe), DEEP):
        try:
            found = [Decision.from_entry(entry) for entry in entries]
        except (TypeError, ValueError, KeyError, OverflowError):  # something else of that name
            continue
        if all(decision.rates for decision in found):
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
