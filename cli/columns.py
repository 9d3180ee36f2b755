"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Lay out a table for :meth:`~lrscape.cli.output.Output.result`.

    Args:
        head: Names of the columns.
        rows: Texts; an empty one becomes a dash.

    Returns:
        First cell and the rest of each line, the head first.

    Example:
        >>> columns(("run", "loss", "at"), [("a", "0.25", ""), ("b", "1", "(0, 1)")])
        [('run', 'loss  at'), ('a', '0.25  –'), ('b', '1     (0, 1)')]
    """
    lines = [tuple(head), *[tuple(cell or "–" for cell in row) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)) for line in lines]
    return [(line[0], text.rstrip()) for line, text in zip(lines, texts, strict=True)]


def number(value: float | None, digits: int = 4) -> str:
    """Word a number.

    Args:
        value: None or NaN where there is none.
        digits: Significant ones.

    Returns:
        The text; empty where there is no number.

    Example:
        >>> number(0.123456), number(float("inf")), number(None)
        ('0.1235', 'inf', '')
    """
    return "" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def place(coordinates: Sequence[float] | None) -> str:
    """Word coordinates.

    Args:
        coordinates: None where there are none.

    Returns:
        The text.

    Example:
        >>> place([0.5, -1.0])
        '(0.5, -1)'
    """
    return "" if coordinates is None else f"({', '.join(f'{value + 0.0:.3g}' for value in coordinates)})"
