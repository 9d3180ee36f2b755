"""Results beside ``--out``: checked before a long scan, too."""

from __future__ import annotations

from pathlib import Path

from .destination import check_destination
from .failures import UsageError

FIGURES = (".png", ".pdf", ".svg")


def check_target(path: Path | None, option: str, *, overwrite: bool) -> None:
    """Make sure that a file can be written.

    Args:
        path: The file; None if none was asked for.
        option: Which names it.
        overwrite: Whether it may exist.

    Raises:
        IsADirectoryError: If it is a folder.
        OSError: If it cannot be written, or exists and may not.
    """
    if path is None:
        return
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        check_destination(path, overwrite=overwrite)
    except OSError as error:
        raise type(error)(str(error).replace("--out", option)) from error


def check_figure(path: Path | None, option: str, *, overwrite: bool) -> None:
    """Make sure that a figure can be written.

    Args:
        path: The file; None if none was asked for.
        option: Which names it.
        overwrite: Whether it may exist.

    Raises:
        UsageError: If its suffix is no format.
    """
    if path is not None and path.suffix.lower() not in FIGURES:
        raise UsageError(f"{option} must end in {', '.join(FIGURES[:-1])} or {FIGURES[-1]}, got {str(path)!r}")
    check_target(path, option, overwrite=overwrite)
