"""Lists and reasons, cut to what a message can hold."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 5


def shortened(text: str, most: int = 160) -> str:
    """Cut a text at a word.

    Args:
        text: Any text.
        most: Characters to keep.

    Returns:
        The text, with an ellipsis if it was cut.
    """
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def few(names: Iterable[str]) -> str:
    """List the first names and count the rest.

    Args:
        names: Any names.

    Returns:
        The list.

    Example:
        >>> few("abcdefg")
        '7 (a, b, c, d, e and 2 more)'
    """
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"
