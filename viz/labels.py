"""What several landscapes in one figure are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile


def name_each(labels: Iterable[str] | None, count: int, *, usual: str = "", what: str = "surfaces") -> list[str]:
    """Give each of several landscapes its name.

    Args:
        labels: What the user passed.
        count: How many there are.
        usual: What stands before their numbers, from 1, where the user passed nothing.
        what: How to call them in messages.

    Returns:
        The names.

    Raises:
        ValueError: If there are more or fewer labels, or a single string.

    Example:
        >>> name_each(None, 2, usual="surface "), name_each(["0", "50"], 2)
        (['surface 1', 'surface 2'], ['0', '50'])
    """
    names = [f"{usual}{i + 1}" for i in range(count)] if labels is None else [str(label) for label in labels]
    if isinstance(labels, str) or len(names) != count:
        raise ValueError(f"labels must name each of the {count} {what}, got {labels!r}")
    return names


def shorten(names: Sequence[str], most: int) -> list[str]:
    """Cut names that are too long to what tells them apart.

    What all begin with goes first, what all end with next, then the middle of what is longer still. Marks of omission
    stand for it.

    Args:
        names: Any.
        most: Letters, at most, where none is longer all stay as they are.

    Returns:
        A name for each, different where the given ones are; those that would look alike begin with their number.

    Example:
        >>> shorten(["resnet_seed_1_epoch_10", "resnet_seed_1_epoch_20"], 12)
        ['…10', '…20']
        >>> shorten(["a name that is far too long"], 15)
        ['a name…too long']
    """
    if all(len(name) <= most for name in names):
        return list(names)
    parts = list(names)
    if len(set(names)) > 1:
        start = _shared(parts)
        parts = [f"…{part[start:]}" if start else part for part in parts]
        if any(len(part) > most for part in parts):
            end = _shared([part[::-1] for part in parts])
            parts = [f"{part[:-end]}…" if end else part for part in parts]
    cut = [_middle(part, most) for part in parts]
    alike = len(set(cut)) < len(set(names))
    return [f"{i}: {_middle(part, most)}" for i, part in enumerate(parts, start=1)] if alike else cut


def _shared(names: Sequence[str]) -> int:
    """Count the letters that all begin with, up to the end of a word, so that something of each is left."""
    alike = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))
    common = names[0][: max(0, min(alike, min(map(len, names)) - 1))]
    ends = [found.end() for found in re.finditer(r"[\s_/\\-]", common)]
    return max(ends, default=0)


def _middle(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    end = (most - 1) * 4 // 7
    return f"{name[: most - 1 - end]}…{name[-end:]}"
