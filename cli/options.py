"""Kinds of arguments that several commands share, each with its own message."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def odd(text: str) -> int:
    """Read a number of grid points.

    Args:
        text: The argument.

    Returns:
        An odd number of at least 3.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.

    Example:
        >>> odd("51")
        51
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if number < 3 or number % 2 == 0:
        raise argparse.ArgumentTypeError(
            f"must be odd and at least 3, so that the centre lies on the grid, got {number}; use {max(3, number + 1)}"
        )
    return number


def as_number(text: str) -> float:
    """Read any number, for readers that say themselves what they need.

    Args:
        text: The argument.

    Returns:
        The number; NaN where it is none, which fits into no range.

    Example:
        >>> as_number("0.5"), as_number("half")
        (0.5, nan)
    """
    try:
        return float(text)
    except ValueError:
        return math.nan


def not_negative(text: str) -> float:
    """Read a number that may be 0.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: If it is negative, infinite or no number.

    Example:
        >>> not_negative("0")
        0.0
    """
    number = as_number(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text!r}")
    return number


def positive(text: str) -> float:
    """Read a positive number.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.

    Example:
        >>> positive("0.5")
        0.5
    """
    number = as_number(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return number


def some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a reader of lists such as ``contour,surface``.

    Args:
        known: The names that may be given.

    Returns:
        A function from the argument to the names, each once, in the order given.
    """
    names = tuple(known)

    def read(text: str) -> list[str]:
        chosen = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
        unknown = [name for name in chosen if name not in names]
        if unknown or not chosen:
            given = ", ".join(map(repr, unknown)) or "nothing"
            raise argparse.ArgumentTypeError(f"must name some of {', '.join(names)} (separated by commas), got {given}")
        return chosen

    return read


def positive_whole(text: str) -> int:
    """Parse a count.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is not a whole number of at least 1.

    Example:
        >>> positive_whole("3")
        3
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def at_least_3(text: str) -> int:
    """Read a number of grid points, which need not be odd where the grid is not centred.

    Args:
        text: The argument.

    Returns:
        A whole number of at least 3.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.

    Example:
        >>> at_least_3("50")
        50
    """
    number = positive_whole(text)
    if number < 3:
        raise argparse.ArgumentTypeError(f"must be at least 3 points a side, got {number}; use 3")
    return number


def list_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a reader of lists such as ``gradient,random,random``, in which a name may come again.

    Args:
        known: The names that may be given.

    Returns:
        A function from the argument to the names.
    """
    distinct = some_of(known)

    def read(text: str) -> list[str]:
        distinct(text)
        return [part.strip() for part in text.split(",") if part.strip()]

    return read


class Span(argparse.Action):
    """Reads ``S`` as a half-width, and ``LOW HIGH`` as both ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store a positive number, or a pair of ascending ones.

        Args:
            parser: Whose option it is.
            namespace: Where it goes.
            values: The arguments, one or two.
            option_string: The option as it was written.

        Raises:
            argparse.ArgumentError: If they are anything else.
        """
        texts = [str(value) for value in values or ()]
        try:
            numbers = [float(text) for text in texts]
        except ValueError:
            numbers = []
        if len(numbers) == 1 and math.isfinite(numbers[0]) and numbers[0] > 0:
            setattr(namespace, self.dest, numbers[0])
        elif len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]:
            setattr(namespace, self.dest, (numbers[0], numbers[1]))
        else:
            given = " ".join(texts)
            raise argparse.ArgumentError(
                self, f"must be a positive number, or two with the lower first, got {given!r}; CKPT goes before it"
            )
