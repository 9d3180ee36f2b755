"""What several landscapes in one figure are called."""

from __future__ import annotations

from collections.abc import Iterable


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
