"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

BUFFER = "write what is in memory to a file first"  # what to do with anything but a path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def here() -> str:
    """Name the folder that relative paths start from, for messages.

    Returns:
        Its name.
    """
    try:
        return f"{Path.cwd().name}/"
    except OSError:
        return "the working directory, which is gone"


def as_path(path: object, advice: str) -> Path:
    """Check that a user named a file.

    Args:
        path: What was passed as ``path``.
        advice: What to do with anything else.

    Returns:
        The path.

    Raises:
        TypeError: If it is no name.

    Example:
        >>> as_path({}, "load it first")
        Traceback (most recent call last):
        TypeError: path must be the name of a file (a str or Path), got dict; load it first
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be the name of a file (a str or Path), got {type(path).__name__}; {advice}")
    return Path(path)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only once it is complete.

    The bytes go to a file in the same folder that has no name yet (on Linux; elsewhere to a temporary one), are flushed
    to the disk, and the file then takes the place of an older one. After an exception nothing is left and the older
    file is untouched; on Linux a kill while it is written leaves nothing either.

    Args:
        path: Where the file will be.

    Yields:
        A binary file to write to.

    Raises:
        IsADirectoryError: If the path is a folder.
        OSError: If the folder does not exist or cannot be written to, or the disk is full; the message names the file.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; name a file in it")
    real = Path(os.path.realpath(target))  # a link is written through, not replaced
    temporary = real.parent / f".{target.name[:40]}.{secrets.token_hex(4)}.part"
    try:
        handle, named = _opened(temporary)
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write {target} ({error.strerror}); choose a folder that exists and is writable"
        ) from error
    complete = False
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            complete = True
            file.flush()
            os.fsync(file.fileno())
            if not named:
                _name(file.fileno(), temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # it was private so far, unlike what open() makes
        temporary.replace(real)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        failed = _of_writing(error, complete)
        if failed is None:
            raise
        advice = "free some room" if failed.errno in _NO_ROOM else "see that its folder stays there and writable"
        raise type(failed)(failed.errno, f"cannot write {target} ({failed.strerror}); {advice}") from error


def _of_writing(error: BaseException | None, complete: bool) -> OSError | None:
    """Find the failure to write behind an error; torch.save hides it behind one of its own."""
    while error is not None:
        if isinstance(error, OSError):
            writing = error.errno in _NO_ROOM | {errno.EIO} and error.filename is None
            return error if complete or writing else None
        error = None if complete else error.__cause__ or error.__context__
    return None


def _opened(temporary: Path) -> tuple[int, bool]:
    """Open a file without a name if the file system has such files, else with this one; tell whether it has it."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.open(temporary.parent, os.O_TMPFILE | os.O_RDWR, 0o600), False
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    return os.open(temporary, flags, 0o600), True


def _name(handle: int, path: Path) -> None:
    """Give a name to a file that has none."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # With a folder's descriptor Python calls linkat, which follows the link to the open file.
        os.link(f"/proc/self/fd/{handle}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
