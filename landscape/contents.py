"""What lists, dicts, sets and the attributes of objects hold, so that it can be put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from operator import is_
from typing import Any

from torch import nn

MODULE = frozenset(vars(nn.Module()))  # what every module has: parameters, buffers, submodules, hooks, its mode
LONG = 1000  # entries: longer containers hold data, in whose entries nothing else is looked for
CONTAINERS = (list, dict, set, deque)


class Contents:
    """What a container holds now.

    Args:
        container: A list, dict, set or deque, or the ``vars`` of an object.
        left_out: Keys that are not looked at.

    Attributes:
        container: The same object.
        values: What it held when this was made; of a dict, its values.

    Example:
        >>> seen = ["a"]
        >>> kept = Contents(seen)
        >>> seen.append("b")
        >>> kept.added(), kept.restore(), seen
        (['b'], None, ['a'])
    """

    def __init__(self, container: Any, left_out: Collection[Any] = ()) -> None:
        self.container = container
        self._left_out = left_out
        self._keys, self.values = self._now()

    def _now(self) -> tuple[list[Any], list[Any]]:
        if not isinstance(self.container, dict):
            return [], list(self.container)
        if not self._left_out:
            return list(self.container), list(self.container.values())
        keys = [key for key in self.container if key not in self._left_out]
        return keys, [self.container[key] for key in keys]

    def items(self) -> list[tuple[Any, Any]]:
        """List what it held when this was made.

        Returns:
            Of a dict, keys and values; nothing otherwise.
        """
        return list(zip(self._keys, self.values, strict=False))

    def added(self) -> list[Any]:
        """List what it did not hold, the same object, when this was made.

        Returns:
            The objects; of a dict, its values.
        """
        values = self._now()[1]
        if _same(values, self.values):
            return []
        known = set(map(id, self.values))
        return [value for value in values if id(value) not in known]

    def restore(self) -> None:
        """Put back the same objects in the same order, into the container itself, so that references to it hold."""
        keys, values = self._now()
        if _same(keys, self._keys) and _same(values, self.values):
            return
        if isinstance(self.container, dict):
            for key in keys:
                del self.container[key]
            self.container.update(dict(zip(self._keys, self.values, strict=True)))
        else:
            self.container.clear()
            add = self.container.update if isinstance(self.container, set) else self.container.extend
            add(self.values)


def _same(these: list[Any], those: list[Any]) -> bool:
    return len(these) == len(those) and all(map(is_, these, those))


def nested(values: Collection[Any], depth: int) -> Iterator[Contents]:
    """Find containers that can change.

    Args:
        values: Anything; lists, dicts, sets and deques are found, also in tuples.
        depth: Levels of containers to look at.

    Yields:
        Their contents, those of the outer before those of the inner.
    """
    if depth == 0 or len(values) > LONG:
        return
    for value in values:
        if isinstance(value, CONTAINERS):
            found = Contents(value)
            yield found
            yield from nested(found.values, depth - 1)
        elif isinstance(value, tuple):
            yield from nested(value, depth - 1)


def attributes(module: nn.Module) -> Contents:
    """Take what a module keeps besides parameters, buffers, submodules, hooks and its mode.

    Args:
        module: The module.

    Returns:
        The contents of its ``vars``.
    """
    return Contents(vars(module), MODULE)
