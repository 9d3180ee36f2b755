"""Find the best learning rate on a grid of powers of two, going on until it is bracketed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

REACH = 10  # powers of two on either side of the centre, beyond which a best rate is believed without a bracket


@dataclass(frozen=True)
class Bracket:
    """The state of a search.

    Attributes:
        rates: All rates that the search has asked for, ascending.
        best: The best of them, or None while their losses are not all known.
        found: Whether the best rate has a worse one on either side.
    """

    rates: Sequence[float]
    best: float | None
    found: bool


def bracket(centre: float, loss: Callable[[float], float | None], extend: bool = True) -> Bracket:
    """Search from a centre and its neighbours on.

    Args:
        centre: Where to start.
        loss: Gives the loss of a rate, infinity if it diverged, or None if it is not yet known.
        extend: Go on beyond the neighbours if the best rate is at the edge.

    Returns:
        What is known so far; rates of unknown loss are to be run.

    Example:
        >>> bracket(1.0, lambda rate: abs(rate - 4)).rates
        [0.5, 1.0, 2.0, 4.0, 8.0]
    """
    low, high = -1, 1
    while True:
        rates = [centre * 2.0**power for power in range(low, high + 1)]
        losses = [loss(rate) for rate in rates]
        known = [value for value in losses if value is not None]
        if len(known) < len(rates):
            return Bracket(rates, None, False)
        at = known.index(min(known))
        inside = 0 < at < len(rates) - 1
        if inside or not extend or -low >= REACH or high >= REACH:
            return Bracket(rates, rates[at], inside)
        low, high = (low - 1, high) if at == 0 else (low, high + 1)
