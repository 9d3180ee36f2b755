"""This package's schedulers that follow the curvature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lrscape.schedulers import LandscapeLR

from .landscape import LEAST, Steered
from .policy import Policy, Setting, level, ramp, warmup

FEW = 10  # probes in the whole budget, each worth some five to nine steps; the defaults are made for long runs


def curvature(
    setting: Setting,
    kind: Callable[..., LandscapeLR],
    *,
    probes: int | None = FEW,
    ramped: bool = True,
    layers: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Policy:
    """Steer with a scheduler of the curvature.

    Args:
        setting: What to train.
        kind: Its class.
        probes: In the whole budget; None leaves its interval.
        ramped: Whether it follows the warmup of the constant arm; not if it is a warmup.
        layers: Whether each layer is a parameter group.
        changes: Options that differ from the defaults; functions are called with the setting.

    Returns:
        The policy.
    """
    optimizer = setting.base(layers=layers)
    options: dict[str, Any] = {"seed": setting.seed}
    if probes is not None:
        options["interval"] = max(LEAST, setting.budget // probes)
    if ramped:
        options["inner"] = ramp(optimizer, warmup(setting.budget), level)
    for name, value in (changes or {}).items():
        options[name] = value(setting) if callable(value) else value
    return Steered(setting, kind(optimizer, setting.model, **options))


def climbing(setting: Setting) -> float:
    """Give the growth per step with which CurvatureWarmup could climb in the steps of the constant arm's warmup."""
    return float(100 ** (1 / max(1, warmup(setting.budget))))
