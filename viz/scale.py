"""The scale on which values are shown: linear or logarithmic, with its levels and its readable ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray


def readable(value: float, *, powers: bool = False, digits: int = 3, below: float = 1e4) -> str:
    r"""Write a number as short as a tick label or a legend should.

    Args:
        value: Any number.
        powers: Write powers of ten from 0.1 down, as beside smaller ones.
        digits: How many significant digits, at most.
        below: Write powers of ten from here up.

    Returns:
        The digits without zeros at their end; a power of ten outside of 0.001 to ``below``.

    Example:
        >>> readable(0.31415), readable(20000.0), readable(1e-6)
        ('0.314', '$2\\times10^{4}$', '$10^{-6}$')
    """
    size = abs(value)
    if not math.isfinite(value) or size == 0 or (0.5 if powers else 1e-3) <= size < below:
        text = np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
        return text.replace("-", "\N{MINUS SIGN}")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    factor = {"1": "", "-1": "-"}.get(mantissa, rf"{mantissa}\times")
    return f"${factor}10^{{{int(exponent)}}}$"


def together(values: ArrayLike, *, powers: bool = False, most: int = 17) -> list[str]:
    """Write numbers that stand beside each other, e.g. on an axis, so that they can be told apart.

    They get three significant digits, or as many more as it takes until what is written is much closer to each number
    (a twentieth of the distance) than its neighbour.

    Args:
        values: Any numbers, shape (n,).
        powers: Write powers of ten from 0.1 down, as beside smaller ones.
        most: Significant digits, at most; what agrees in nearly all of them looks alike.

    Returns:
        A text for each.

    Example:
        >>> together([2.3, 2.302, 2.304]), together([1e6, 1e6 + 1])
        (['2.3', '2.302', '2.304'], ['1000000', '1000001'])
    """
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.unique(numbers[np.isfinite(numbers)])
    gaps = np.diff(finite)
    gaps[gaps < 10.0 ** (2 - most) * np.abs(finite[1:])] = np.inf  # too close
    apart = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))[: len(finite)]
    digits = 3
    while digits < most and any(
        abs(float(f"{value:.{digits - 1}e}") - value) > 0.05 * gap for value, gap in zip(finite, apart, strict=True)
    ):
        digits += 1
    highest = float(np.abs(finite).max(initial=0.0))
    plain = digits > 3 and 1e4 <= highest < 10.0 ** (digits + 1)  # its digits reach the units, or nearly
    below = 10.0 ** (digits + 1) if plain else 1e4
    return [readable(float(value), powers=powers, digits=digits, below=below) for value in numbers]


class Readable(Formatter):
    """Ticks written by :func:`together`."""

    def __init__(self, *, powers: bool = False) -> None:
        """Choose how small numbers look.

        Args:
            powers: Write powers of ten from 0.1 down, as beside smaller ones.
        """
        self.powers = powers

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Write one number, e.g. where the pointer is.

        Args:
            x: The number.
            pos: Which tick it is.

        Returns:
            The text.
        """
        return readable(x, powers=self.powers)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Write the numbers of an axis.

        Args:
            values: Where the ticks are.

        Returns:
            A text for each.
        """
        return together(values, powers=self.powers)


@dataclass(frozen=True)
class Scale:
    """A range of values and how it is divided.

    Attributes:
        low: Smallest value shown.
        high: Largest value shown, above low.
        log: Whether equal ratios, not equal differences, look alike.
        fixed: Whether the range was asked for, so that levels end with it instead of on round numbers.
    """

    low: float
    high: float
    log: bool
    fixed: bool = False

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Say where values lie on a linear axis that shows them on this scale.

        What is drawn between the points of a grid is interpolated there, so that isolines lie where the logarithm says.

        Args:
            values: Any shape, above 0 or not finite on a logarithmic scale.

        Returns:
            The values, or their logarithms to base 10; masked where they are.
        """
        numbers = np.ma.asarray(values, dtype=np.float64) if np.ma.isMA(values) else np.asarray(values, np.float64)
        return (np.ma.log10(numbers) if np.ma.isMA(numbers) else np.log10(numbers)) if self.log else numbers

    def norm(self) -> Normalize:
        """Make the map from places to colours.

        Returns:
            A Normalize over the places of the range.
        """
        low, high = self.place([self.low, self.high]).tolist()
        return Normalize(low, high)

    def levels(self, count: int) -> NDArray[np.float64]:
        """Divide the range.

        Args:
            count: About how many bands.

        Returns:
            Ascending levels: round numbers that cover the range, or equal ratios from low to high.
        """
        if self.log:
            levels = np.geomspace(self.low, self.high, count + 1)
            levels[0], levels[-1] = self.low, self.high
            return levels
        levels = np.asarray(MaxNLocator(count, min_n_ticks=3).tick_values(self.low, self.high))
        if self.fixed:
            return np.unique(np.clip(levels, self.low, self.high))
        levels[0], levels[-1] = min(levels[0], self.low), max(levels[-1], self.high)  # rounding can fall just short
        return levels

    def ticks(self, most: int = 7) -> NDArray[np.float64]:
        """Choose where to write numbers.

        Args:
            most: At most how many.

        Returns:
            Ascending values within the range.
        """
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for steps in (range(1, 10), (1, 2, 5), (1, 3), (1,)):
                found = self._inside(np.array([step * 10.0**k for k in range(first, last + 1) for step in steps]))
                if len(found) <= most:
                    break
            found = found[:: math.ceil(len(found) / most) or 1]
            if len(found) >= 3:
                return found
        for bins in (most - 2, most - 1):
            locator = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10])
            found = self._inside(np.asarray(locator.tick_values(self.low, self.high)))
            if len(found) >= 3:
                break
        return found

    def _inside(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.log:
            return values[(values >= self.low * (1 - 1e-9)) & (values <= self.high * (1 + 1e-9))]
        slack = 1e-9 * (self.high - self.low)
        return values[(values >= self.low - slack) & (values <= self.high + slack)]


def ratio(values: NDArray[np.float64], middle: float = 1.0) -> float:
    """Divide the highest by the lowest of the positive finite values.

    Args:
        values: Any shape.
        middle: Part of the values that counts; with 0.5 those below the first and above the third quartile do not.

    Returns:
        The ratio; 1 if no value is positive.

    Example:
        >>> ratio(np.array([0.0, 1.0, 20.0]))
        20.0
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        return 1.0
    low, high = np.quantile(positive, [0.5 - middle / 2, 0.5 + middle / 2])
    return float(high / low)


def log_axis(ax: Axes, values: NDArray[np.float64]) -> None:
    """Make the y axis logarithmic, with numbers that can be read.

    Args:
        ax: A 2-D Axes.
        values: What it shows.
    """
    ax.set_yscale("log", nonpositive="mask")
    axis = ax.yaxis
    spread = ratio(values)
    powers = bool((values[np.isfinite(values) & (values > 0)] < 1e-3).any())
    if spread < 4:
        axis.set_major_locator(MaxNLocator(5))
    else:
        steps = (1.0, 2.0, 5.0) if spread < 50 else (1.0, 3.0) if spread < 1000 else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=8))
    axis.set_major_formatter(Readable(powers=powers))
    axis.set_minor_formatter(NullFormatter())


def check_positive(values: NDArray[np.float64], name: str) -> None:
    """Check that values can be shown on a logarithmic scale; those that are not finite do not count.

    Args:
        values: Any shape.
        name: What they are.

    Raises:
        ValueError: If one of them is zero or negative.
    """
    finite = values[np.isfinite(values)]
    bad = int((finite <= 0).sum())
    if bad:
        raise ValueError(
            f"log=True needs values above 0, but {bad} of {values.size} values of {name} are not (the lowest is "
            f"{finite.min():.3g}); use log=False, or draw an array shifted above 0, e.g. values - values.min() + 1e-3 "
            "with axes=surface.axes"
        )


def choose_scale(values: NDArray[np.float64], *, log: bool, name: str, limits: Sequence[float] | None = None) -> Scale:
    """Choose the scale for values.

    Args:
        values: Any shape; those that are not finite do not count.
        log: Whether the scale is logarithmic.
        name: What the values are, for messages.
        limits: Lowest and highest value to show; the range of the values by default. With them no value has to be
            finite.

    Returns:
        The scale.

    Raises:
        ValueError: If no value is finite, a logarithm is asked of values at or below zero, or limits is no range.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 and limits is None:
        raise ValueError(f"none of the {values.size} values of {name} is finite, so there is nothing to draw")
    if log:
        check_positive(values, name)
    if limits is not None:
        low, high = (float(limit) for limit in limits)
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
            raise ValueError(
                f"limits must be two finite numbers (low, high) with low < high{' and low > 0' if log else ''}, "
                f"got ({low:g}, {high:g})"
            )
        return Scale(low, high, log, fixed=True)
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # constant: any range around the value will do
        margin = 0.05 * abs(low) or 1.0
        low, high = low - margin, high + margin
    return Scale(low, high, log)
