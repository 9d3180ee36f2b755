"""The scale on which values are shown: linear or logarithmic, with its levels and its readable ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray


def readable(value: float, *, powers: bool = False) -> str:
    r"""Write a number as short as a tick label or a legend should.

    Args:
        value: Any number.
        powers: Write powers of ten from 0.1 down, as beside smaller ones.

    Returns:
        Three significant digits; a power of ten outside of 0.001 to 10,000.

    Example:
        >>> readable(0.31415), readable(20000.0), readable(1e-6)
        ('0.314', '$2\\times10^{4}$', '$10^{-6}$')
    """
    size = abs(value)
    if not math.isfinite(value) or size == 0 or (0.5 if powers else 1e-3) <= size < 1e4:
        text = np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-")
        return text.replace("-", "\N{MINUS SIGN}")
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    factor = {"1": "", "-1": "-"}.get(mantissa, rf"{mantissa}\times")
    return f"${factor}10^{{{int(exponent)}}}$"


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

    def norm(self) -> Normalize:
        """Make the map from values to colours.

        Returns:
            A LogNorm or Normalize over the range.
        """
        return LogNorm(self.low, self.high) if self.log else Normalize(self.low, self.high)

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
        return self._inside(
            np.asarray(MaxNLocator(most - 2, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high))
        )

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
    axis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, powers=powers)))
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
        limits: Lowest and highest value to show; the range of the values by default.

    Returns:
        The scale.

    Raises:
        ValueError: If no value is finite, a logarithm is asked of values at or below zero, or limits is no range.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
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
