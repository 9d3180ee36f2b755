"""Files that are either whole or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only once it is complete.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and the file is then renamed; after
    an exception nothing is left and an older file of that name is untouched.

    Args:
        path: Where the file will be.

    Yields:
        A binary file to write to.

    Raises:
        IsADirectoryError: If the path is a folder.
        OSError: If the folder does not exist or cannot be written to; the message names it.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a folder; name a file in it")
    try:
        # realpath: a link is written through, not replaced.
        folder = Path(os.path.realpath(target)).parent
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise type(error)(
            error.errno, f"cannot write {target} ({error.strerror}); choose a folder that exists and is writable"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp makes it private, unlike open()
        Path(temporary).replace(os.path.realpath(target))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
