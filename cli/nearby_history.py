"""Which history belongs to a checkpoint: its own, or one of the files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .histories import find_history, read_history

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..schedulers import Decision

FIRST = 2**16  # bytes in which the first decision of a file must end; large files of data lie about, too


@dataclass(frozen=True)
class Told:
    """A history and where it was found.

    Attributes:
        decisions: Oldest first.
        source: A file, or the checkpoint itself, in words.
    """

    decisions: list[Decision]
    source: str


def history_of(path: str, unsafe: bool, *, shared: bool = True) -> Told | None:
    """Look for the history of a checkpoint's learning rate, in it and in the files beside it.

    The state of a scheduler in the checkpoint says it for certain, but holds the latest hundred decisions alone; a file
    that has them, too, is of the same run, and is taken up to the last of them. Without such a state, the file counts
    that has the checkpoint's name with the suffix .jsonl, else the only one with decisions in its folder.

    Args:
        path: A checkpoint, a file or a folder.
        unsafe: Whether it may hold, and run, anything.
        shared: Whether to take a file of another name, which may belong to other checkpoints of the folder.

    Returns:
        What was found, None if there is nothing.

    Raises:
        ValueError: If several files could be meant, or the one that is meant cannot be read.
    """
    own, files = find_history(path, unsafe), _files_beside(Path(path))
    if own:
        return _completed(own, files) or Told(own, "the scheduler's state in the checkpoint")
    named = [file for file in files if file.stem in {Path(path).stem, Path(path).name}]
    chosen = named or (files if shared else [])
    if len(chosen) > 1:
        names = ", ".join(str(file) for file in chosen)
        raise ValueError(f"several files beside the checkpoint hold decisions: {names}; choose one with --history")
    return Told(read_history(chosen[0]), str(chosen[0])) if chosen else None


def _completed(own: list[Decision], files: list[Path]) -> Told | None:
    """Find a file of the same run, and take it up to where the checkpoint's own history ends."""
    for file in files:
        try:
            whole = read_history(file)
        except (OSError, ValueError):  # cut off, say: the checkpoint's own history is good enough
            continue
        known = {_key(decision) for decision in whole}
        if all(_key(decision) in known for decision in own):
            return Told([one for one in whole if one.step <= own[-1].step], str(file))
    return None


def _files_beside(path: Path) -> list[Path]:
    """List the files with decisions in a checkpoint's folder and, if it is a folder, in it."""
    folders = [path, path.parent] if path.is_dir() else [path.parent]
    return [file for folder in folders for file in sorted(folder.glob("*.jsonl")) if _starts_with_a_decision(file)]


def _starts_with_a_decision(file: Path) -> bool:
    from ..schedulers import Decision

    try:
        with file.open("rb") as opened:
            Decision.from_entry(json.loads(opened.readline(FIRST)))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):  # lines of something else
        return False
    return True


def _key(decision: Decision) -> tuple[int, str, tuple[float, ...]]:
    """Tell a decision by what is never NaN."""
    return decision.step, decision.reason, tuple(decision.rates)
