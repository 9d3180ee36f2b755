"""One form for the schedules that are known beforehand: a warmup, then stages that hold a peak and decay from it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .decay_shapes import DecayShape, check_decay, decayed


@dataclass(frozen=True)
class Stages:
    """The factor on a base rate after t optimizer steps: warmup, then stages that each hold a peak and then decay.

    Stage i lasts until step T_i. Its factor is its peak c_i, and over its last D_i steps c_i·g(p) with
    p = (t − (T_i − D_i))/D_i and g as in :func:`~lrscape.schedulers.decay_shapes.decayed`. Before, during the W steps
    of warmup, it is c_1·(t + 1)/W. After the last stage it stays where that ended. So the first step has the factor
    of t = 0 and a run of T_n steps ends just before the floor is reached.

    It is a plain function of t and made for ``torch.optim.lr_scheduler.LambdaLR``, which also saves it; the factories
    :func:`cosine`, :func:`wsd`, … make both.

    Args:
        ends: T_i, ascending.
        decays: D_i, the number of steps at the end of each stage in which it decays; 0 for a constant stage.
        peaks: c_i, one for each stage.
        warmup: W.
        shape: Of every decay.
        floor: Where a decay ends, as a fraction of its peak.

    Raises:
        ValueError: If the numbers contradict each other.

    Example:
        >>> factor = Stages(ends=(4, 8), decays=(2, 2), peaks=(1.0, 0.5), warmup=2)
        >>> [factor(t) for t in range(9)]
        [0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.0]
    """

    ends: tuple[int, ...]
    decays: tuple[int, ...]
    peaks: tuple[float, ...]
    warmup: int = 0
    shape: DecayShape = "linear"
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_decay(self.shape, self.floor)
        whole_numbers("ends", self.ends, least=1)
        whole_numbers("decays", self.decays, least=0)
        whole_numbers("warmup", [self.warmup], least=0)
        if not len(self.ends) == len(self.decays) == len(self.peaks) > 0:
            raise ValueError(
                f"ends, decays and peaks need one entry for each stage, got {len(self.ends)}, {len(self.decays)} and "
                f"{len(self.peaks)}"
            )
        if not all(math.isfinite(peak) and peak > 0 for peak in self.peaks):
            raise ValueError(f"peaks must be positive and finite, got {self.peaks}")
        begin = self.warmup
        for i, (end, decay) in enumerate(zip(self.ends, self.decays, strict=True)):
            if end < begin + decay or (i and end <= begin):
                what = f"the {self.warmup} steps of warmup" if i == 0 else f"the end of the one before at step {begin}"
                raise ValueError(
                    f"stage {i + 1} ends at step {end}, which leaves no room for {what} and then a decay over {decay} "
                    "steps; make it longer, or its decay shorter"
                )
            begin = end

    def __call__(self, t: int) -> float:
        """Compute the factor.

        Args:
            t: Number of optimizer steps taken.

        Returns:
            The factor on the base rate at the next one.
        """
        if t < self.warmup:
            return self.peaks[0] * (t + 1) / self.warmup
        i = min(bisect_right(self.ends, t), len(self.ends) - 1)
        decay = self.decays[i]
        if decay == 0:
            return self.peaks[i]
        return self.peaks[i] * decayed(self.shape, (t - (self.ends[i] - decay)) / decay, self.floor)


def whole_numbers(name: str, values: Sequence[object], *, least: int) -> None:
    """Reject what is no whole number, or too small.

    Args:
        name: Of the argument.
        values: What was given.
        least: The smallest number allowed.

    Raises:
        ValueError: If one is not a whole number of at least ``least``.
    """
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be whole numbers of at least {least}, got {value!r}")
