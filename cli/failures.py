"""Errors as one sentence for the terminal."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .advice import for_shell


class UsageError(Exception):
    """Arguments that cannot be right, whatever the files hold: exit code 2."""


def _is_ours(frame: FrameType) -> bool:
    # By name: the folder of an editable installation also holds the user's environment and our tests.
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == __name__.split(".")[0]


def _is_library(frame: FrameType) -> bool:
    folders = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    name = frame.f_code.co_filename
    return name.startswith("<") or any(Path(name).is_relative_to(folder) for folder in folders)


@contextmanager
def about(path: Path | str) -> Iterator[None]:
    """Put the name of a file before what is wrong with it, where the message is ours and lacks the name.

    Args:
        path: The file.

    Yields:
        Nothing.

    Raises:
        ValueError: If the block raised one.

    Example:
        >>> with about("a.npz"):
        ...     raise ValueError("no loss is finite")
        Traceback (most recent call last):
        ValueError: a.npz: no loss is finite
    """
    try:
        yield
    except ValueError as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        if str(path) in str(error) or not _is_ours(frames[-1][0]):
            raise
        raise ValueError(f"{path}: {error}") from error


def explain(error: BaseException, hint: str = "", options: Container[str] = ()) -> str:
    """Say what went wrong in one sentence.

    Our own messages are said in the options of the command, those of the system about files stand as they are. An
    error that came out of the user's own code, or that this code provoked in a library, is told with its kind and the
    last of the user's lines on the way.

    Args:
        error: What was raised.
        hint: Added where the sentence may not be enough.
        options: Names of what the command takes.

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
        return for_shell(text, options) if ours else text
    place = f" ({Path(theirs[-1][0].f_code.co_filename).name}, line {theirs[-1][1]})" if theirs else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}{hint}"
