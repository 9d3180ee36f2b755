"""Synthetic loss surfaces whose regime is known because they were made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .topocnn_network import regime_image
from .topocnn_regimes import CORRECTED, corrected_label, describe

SIDE = 15
STEP = 0.12 * 2 / (SIDE - 1)
LOWEST = 0.02  # of the loss at the centre: a loss stays positive

Array = NDArray[np.float64]


def _plane() -> tuple[Array, Array]:
    axis = np.arange(-(SIDE // 2), SIDE // 2 + 1) / (SIDE // 2)
    u, v = np.meshgrid(axis, axis, indexing="ij")
    return u, v


def _two(random: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    return _magnitude(random, low, high), _magnitude(random, low, high)


def _magnitude(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _quadratic(random: np.random.Generator, first: float, second: float, tilt: float) -> Array:
    """Give ½·first·a² + ½·second·b² + g·(a, b) in axes turned at random, in units of the loss at the centre."""
    u, v = _plane()
    angle, ahead = random.uniform(0, 2 * np.pi, 2)
    a, b = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
    surface: Array = 0.5 * first * a**2 + 0.5 * second * b**2 + tilt * (a * np.cos(ahead) + b * np.sin(ahead))
    return surface


def _smooth(values: Array, width: float) -> Array:
    """Apply a periodic Gaussian filter, its width in cells."""
    frequency = 2 * np.pi * np.fft.fftfreq(SIDE)
    damping = np.exp(-((width * frequency) ** 2) / 2)
    smoothed: Array = np.fft.ifft2(np.fft.fft2(values) * damping[:, None] * damping).real
    return smoothed


def constant(random: np.random.Generator) -> Array:
    """Make a surface that is constant up to the rounding of small floats."""
    return 1 + _magnitude(random, 1e-7, 3e-3) * random.standard_normal((SIDE, SIDE))


def _grown(random: np.random.Generator, quadratic: Array) -> Array:
    """Raise 1 + q/p to the p-th power, from a quadratic (p = 1) to nearly an exponential."""
    # Around trained classifiers ln L is closer to a quadratic than L is: steep walls, little curvature in the middle.
    power = 1 / random.uniform(0.02, 1)
    surface: Array = np.maximum(1 + quadratic / power, LOWEST ** (1 / power)) ** power
    return surface


def bowl(random: np.random.Generator) -> Array:
    """Make a bowl, round to a ratio of 3, on a slope."""
    steep = _magnitude(random, 0.02, 120.0)
    return _grown(random, _quadratic(random, steep, steep / random.uniform(1, 3), random.uniform(0, 1.0)))


def ravine(random: np.random.Generator) -> Array:
    """Make an anisotropic bowl, its curvatures 10 to 1,000 to 1."""
    steep = _magnitude(random, 0.05, 200.0)
    return _grown(random, _quadratic(random, steep, steep / _magnitude(random, 10, 1000), random.uniform(0, 0.5)))


def saddle(random: np.random.Generator) -> Array:
    """Make a saddle, or a hill, on a slope."""
    down = -_magnitude(random, 0.05, 1.5)
    up = _magnitude(random, 0.05, 20.0) if random.random() < 0.8 else down
    return 1 + _quadratic(random, up, down, random.uniform(0, 0.3))


def wells(random: np.random.Generator) -> Array:
    """Make a bowl with two to six wells in it."""
    u, v = _plane()
    first, second = random.uniform(0, _magnitude(random, 0.1, 10.0), 2)
    surface = _quadratic(random, first, second, 0.2)
    for _ in range(random.integers(2, 7)):
        x, y = random.uniform(-1, 1, 2)
        width = random.uniform(0.12, 0.4)
        surface -= _magnitude(random, 0.02, 0.9) * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * width**2))
    filled: Array = 1 + surface - surface[SIDE // 2, SIDE // 2]  # the centre keeps the loss 1
    return filled


def ripples(random: np.random.Generator) -> Array:
    """Make a bowl with waves on it."""
    u, v = _plane()
    base = 1 + _quadratic(random, *_two(random, 0.02, 60.0), 0.2)
    waves = sum(
        np.cos(random.uniform(4, 16) * (u * np.cos(angle) + v * np.sin(angle)) + random.uniform(0, 2 * np.pi))
        for angle in random.uniform(0, np.pi, random.integers(1, 4))
    )
    surface: Array = np.maximum(base, LOWEST) * np.exp(_magnitude(random, 0.003, 0.6) * np.asarray(waves))
    return surface


def noise(random: np.random.Generator) -> Array:
    """Make a bowl under correlated noise."""
    base = 1 + _quadratic(random, *_two(random, 0.02, 60.0), 0.2)
    rough = _smooth(random.standard_normal((SIDE, SIDE)), random.uniform(0, 3))
    surface: Array = np.maximum(base, LOWEST) * np.exp(_magnitude(random, 0.003, 0.6) * rough / rough.std())
    return surface


FAMILIES: dict[str, Callable[[np.random.Generator], Array]] = {
    family.__name__: family for family in (constant, bowl, ravine, saddle, wells, ripples, noise)
}


def draw(random: np.random.Generator) -> tuple[str, Array, int]:
    """Draw a surface of any family.

    Args:
        random: Generator.

    Returns:
        Name of the family; losses on the 15×15 grid with span .12, shape (15, 15), all positive; and the regime, an
        index into ``CORRECTED``, by :func:`~lrscape.schedulers.topocnn_regimes.corrected_label` of the surface
        itself.
    """
    name = str(random.choice(list(FAMILIES)))
    surface = np.maximum(FAMILIES[name](random), LOWEST)
    return name, surface * _magnitude(random, 1e-3, 10.0), corrected_label(*describe(surface, STEP))


def balanced(per_class: int, seed: int) -> tuple[list[str], Array, NDArray[np.int64]]:
    """Draw surfaces until every regime has the same number.

    Args:
        per_class: Surfaces of each regime.
        seed: Of the private generator.

    Returns:
        Families; losses, shape (n, 15, 15); regimes, shape (n,), with n = 5·per_class.
    """
    random = np.random.default_rng(seed)
    missing = [per_class] * len(CORRECTED)
    drawn = []
    while any(missing):
        name, surface, label = draw(random)
        if missing[label]:
            missing[label] -= 1
            drawn.append((name, surface, label))
    names, surfaces, labels = zip(*drawn, strict=True)
    return list(names), np.stack(surfaces), np.array(labels, dtype=np.int64)


@cache
def rehearsal() -> tuple[Tensor, Tensor]:
    """Make the examples that keep an online network from forgetting regimes it has not met lately.

    Returns:
        Images of shape (200, 2, 50, 50), float32, and labels of shape (200,), 40 of each regime. Do not modify.
    """
    _, surfaces, labels = balanced(40, seed=1)
    images = np.stack([regime_image(surface) for surface in surfaces])
    return torch.from_numpy(images), torch.from_numpy(labels)
