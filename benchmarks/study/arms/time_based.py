"""Schedules that are functions of time: constant, cosine, step decay, and warmup–stable–decay."""

from __future__ import annotations

import math

from ..averages import Average, anytime, exponential
from .policy import Policy, Setting, level, ramp, warmup

DECAY = 0.2  # last share of the steps in which warmup–stable–decay decays
DROP = 0.1


def constant(setting: Setting) -> Policy:
    """Keep the rate after a warmup; the anytime average rides along and changes nothing."""
    optimizer = setting.base()
    scheduler = ramp(optimizer, warmup(setting.budget), level)
    return Policy(optimizer, scheduler, Average(setting.model, anytime))


def cosine(setting: Setting) -> Policy:
    """Follow half a cosine to zero at the horizon; an exponential average rides along and changes nothing."""
    optimizer, start = setting.base(), warmup(setting.steps)

    def shape(t: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * max(0, t - start) / (setting.steps - start)))

    return Policy(optimizer, ramp(optimizer, start, shape), Average(setting.model, exponential))


def step_decay(setting: Setting) -> Policy:
    """Divide the rate by ten after a half and after three quarters of the steps."""
    optimizer = setting.base()
    drops = (setting.steps // 2, setting.steps * 3 // 4)
    return Policy(optimizer, ramp(optimizer, warmup(setting.steps), lambda t: DROP ** sum(t >= drop for drop in drops)))


def stable_decay(setting: Setting) -> Policy:
    """Keep the rate and let it fall linearly to zero in the last fifth (Wen et al. 2024, arXiv:2410.05192)."""
    optimizer = setting.base()
    shape = lambda t: min(1.0, (setting.steps - t) / (DECAY * setting.steps))  # noqa: E731
    return Policy(optimizer, ramp(optimizer, warmup(setting.steps), shape))
