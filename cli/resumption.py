"""The file of a scan that is not finished, beside the one it will become."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import Output


def partial_file(out: Path) -> Path:
    """Name the file that holds finished points while a scan runs.

    Args:
        out: The result's file.

    Returns:
        The same with ".partial" behind it.

    Example:
        >>> partial_file(Path("a/surface.npz")).name
        'surface.npz.partial'
    """
    return out.with_name(f"{out.name}.partial")


def _files(out: Path) -> list[Path]:
    first = partial_file(out)
    return [path for path in sorted(first.parent.glob(f"{first.name}*")) if path.is_file()]


def check_resumption(arguments: argparse.Namespace, output: Output) -> None:
    """Refuse to lose the points of an earlier scan.

    Args:
        arguments: With ``out``, ``resume`` and ``overwrite``.
        output: For notes.

    Raises:
        FileExistsError: If there are such points and nothing was said about them.
    """
    found = _files(arguments.out)
    if not found:
        if arguments.resume:
            output.note(f"there is no {partial_file(arguments.out)} to go on from: starting anew")
        return
    if arguments.resume:
        output.note(f"going on from {found[0]}")
    elif arguments.overwrite:
        drop_partial(arguments.out)
    else:
        raise FileExistsError(
            f"{found[0]} holds the points of a scan that was cut off; go on with --resume, or drop them with "
            "--overwrite"
        )


def resumable(arguments: argparse.Namespace) -> bool:
    """Tell whether the result's file may exist: a scan cut off between writing it and dropping the partial file.

    Args:
        arguments: With ``out``, ``resume`` and ``overwrite``.

    Returns:
        Whether to replace it.
    """
    return bool(arguments.overwrite or (arguments.resume and _files(arguments.out)))


def drop_partial(out: Path) -> None:
    """Remove what a finished scan no longer needs.

    Args:
        out: The result's file.
    """
    for path in _files(out):
        path.unlink(missing_ok=True)
