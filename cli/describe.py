"""One surface in a few numbers, whatever its dimension."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import LossSurface

# What must agree for curvatures and roughnesses to be comparable; "loss" is how the loss is called.
ALIKE = ("directions", "norm", "bias", "orthogonal", "seed", "loss", "data", "batch_norm", "dropout")


def describe(surface: LossSurface) -> dict[str, Any]:
    """Compute what ``lrscape compare`` shows.

    Sharpness is (mean of the neighbours − ℓ0)/(ℓ0 + 1e-8) with the 3ᵏ − 1 neighbours of the centre: in 2-D the
    published one, as :func:`~lrscape.landscape.features` gives it. The eigenvalues are those of the quadratic fitted
    to the same points. Roughness is what a quadratic fitted to all points leaves, as a share of the variation.

    Args:
        surface: Any.

    Returns:
        By name; None where the points do not tell: no centre inside a grid, or too few points.
    """
    from ..landscape import quadratic_fit, sharpness

    finite = bool(np.isfinite(surface.losses).any())
    at, lowest = surface.minimum if finite else (None, None)
    found: dict[str, Any] = {
        "shape": surface.shape,
        "points": len(surface),
        "not_finite": int((~np.isfinite(surface.losses)).sum()),
        "center": None if surface.center_index is None else surface.center,
        "minimum": lowest,
        "at": at,
        "sharpness": None,
        "eigenvalues": None,
        "roughness": None,
        "spacing": None if surface.shape is None else [float(axis[1] - axis[0]) for axis in surface.axes],
    }
    middle = _middle(surface)
    if middle is not None:
        losses = surface.losses[middle]
        around = losses[np.arange(len(middle)) != len(middle) // 2]
        found["sharpness"] = sharpness(surface.center, around)
        found["eigenvalues"] = quadratic_fit(surface.coordinates[middle], losses).eigenvalues
    with contextlib.suppress(ValueError):  # too few points for a quadratic
        found["roughness"] = quadratic_fit(surface.coordinates, surface.losses).relative_roughness
    return found


def _middle(surface: LossSurface) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Find the centre of a grid with its neighbours: 3ᵏ indices, the centre's in the middle."""
    if surface.shape is None or surface.center_index is None:
        return None
    index = np.unravel_index(surface.center_index, surface.shape)
    if not all(0 < i < n - 1 for i, n in zip(index, surface.shape, strict=True)):
        return None
    block = tuple(slice(int(i) - 1, int(i) + 2) for i in index)
    return np.arange(len(surface)).reshape(surface.shape)[block].ravel()


def differences(surfaces: Sequence[LossSurface]) -> list[str]:
    """Tell in what surfaces were not measured alike.

    Args:
        surfaces: To be compared.

    Returns:
        One text for each difference, e.g. "norm (filter, none)".
    """
    found = []
    for name in ALIKE:
        values = [str(surface.provenance[name]) if name in surface.provenance else "not told" for surface in surfaces]
        if len(set(values)) > 1:
            found.append(f"{name} ({', '.join(dict.fromkeys(values))})")
    spans = {tuple(np.abs(surface.coordinates).max(axis=0).round(9).tolist()) for surface in surfaces}
    shapes = {surface.shape for surface in surfaces}
    if len(spans) > 1 or len(shapes) > 1:
        found.append("points")
    return found


def only(surface: LossSurface, metric: str | None) -> LossSurface:
    """Put a metric in the place of the loss.

    Args:
        surface: With the metric.
        metric: Its name; None for the loss.

    Returns:
        The surface of that metric.

    Raises:
        ValueError: If the surface does not have it.
    """
    if metric is None:
        return surface
    if metric not in surface.metrics:
        known = ", ".join(map(repr, surface.metrics)) or "none"
        raise ValueError(f"metric {metric!r} is not on this surface, whose metrics are: {known}")
    return dataclasses.replace(surface, losses=surface.metrics[metric], standard_error=None)
