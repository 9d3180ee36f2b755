"""Where a long scan's result goes: checked before the scan, and kept even if that place fails after it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path


def check_destination(path: Path, *, overwrite: bool) -> None:
    """Make sure that a file can be written, creating its folder if needed.

    Args:
        path: The file.
        overwrite: Whether it may exist.

    Raises:
        FileExistsError: If it exists and may not.
        IsADirectoryError: If it is a folder.
        OSError: If it cannot be written; nothing has been computed yet.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"cannot write {path}: it is a folder; name a file in it, such as {path / 'surface.npz'}"
        )
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another --out, or pass --overwrite to replace it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror}); choose an --out in a folder that can be written to"
        ) from error


def save_somewhere(save: Callable[[Path], object], path: Path) -> None:
    """Write a result, in the folder for temporary files if its own place has failed meanwhile.

    Args:
        save: Writes the result to a path.
        path: Where it should go.

    Raises:
        OSError: If it had to be written elsewhere; the message says where.
    """
    try:
        save(path)
    except OSError as error:
        rescue = Path(tempfile.mkdtemp(prefix="lrscape-")) / path.name
        save(rescue)
        raise OSError(f"cannot write {path} ({error.strerror or error}); the result was saved as {rescue}") from error
