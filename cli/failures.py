"""Errors as one sentence for the terminal."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from types import FrameType


class UsageError(Exception):
    """Arguments that cannot be right, whatever the files hold: exit code 2."""


def _is_ours(frame: FrameType) -> bool:
    # By name: the folder of an editable installation also holds the user's environment and our tests.
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == __name__.split(".")[0]


def _is_library(frame: FrameType) -> bool:
    folders = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    name = frame.f_code.co_filename
    return name.startswith("<") or any(Path(name).is_relative_to(folder) for folder in folders)


def explain(error: BaseException, hint: str = "") -> str:
    """Say what went wrong in one sentence.

    Our own messages, and those of the system about files, stand as they are. An error that came out of the user's own
    code, or that this code provoked in a library, is told with its kind and the last of the user's lines on the way.

    Args:
        error: What was raised.
        hint: Added where the sentence may not be enough.

    Returns:
        The sentence, on one line.

    Example:
        >>> explain(UsageError("--grid must be odd"))
        '--grid must be odd'
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    frames = list(traceback.walk_tb(error.__traceback__))
    theirs = [(frame, line) for frame, line in frames if not (_is_ours(frame) or _is_library(frame))]
    ours = not frames or _is_ours(frames[-1][0])
    meant_for_reading = (ours and not isinstance(error, LookupError)) or (isinstance(error, OSError) and not theirs)
    if text and meant_for_reading:
        return text
    place = f" ({Path(theirs[-1][0].f_code.co_filename).name}, line {theirs[-1][1]})" if theirs else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}{hint}"
