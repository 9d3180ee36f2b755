"""A fine grid from few measurements: refined where the surface bends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .closure import Closure
from .directions import Directions
from .evaluate import evaluate
from .objective import Objective
from .points import Span, grid, points
from .subdivision import bending, points_of_cells, subdivide
from .surface import LossSurface

CAUTION = 0.25  # share of a cell's bending that is taken for its error: what a kink can reach
_ROUNDING = 1e-7  # of the largest value: a surface flatter than float32 can tell is not refined

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _strides(coarse: int, fine: int) -> list[int]:
    """List the strides of the levels, coarsest first, in steps of the fine grid."""
    ratio = (fine - 1) // (coarse - 1) if coarse > 1 else 0
    if coarse < 5 or fine % 2 == 0 or (coarse - 1) * ratio != fine - 1 or ratio & (ratio - 1):
        raise ValueError(
            "fine − 1 must be coarse − 1 times a power of two, with coarse at least 5 and fine odd, e.g. coarse=26 and "
            f"fine=101; got coarse={coarse} and fine={fine}"
        )
    return [ratio >> level for level in range(ratio.bit_length())]


def _filled(values: Array, measured: Mask, strides: list[int]) -> Array:
    """Interpolate from level to level, keeping what is measured."""
    first = strides[0]
    filled = values[::first, ::first]
    for stride in strides[1:]:
        keep = measured[::stride, ::stride, None]
        filled = np.where(keep, values[::stride, ::stride], subdivide(filled))
    return filled


def _logarithms(values: Array) -> Array:
    if bool((values[:, 0] <= 0).any()):
        raise ValueError(f"log=True needs positive losses, got {values[:, 0].min():g}; leave it out")
    return np.concatenate([np.log(values[:, :1]), values[:, 1:]], axis=1)


def refine(
    values_at: Callable[[Array], Array],
    *,
    coarse: int = 26,
    fine: int = 101,
    span: Span = 1.0,
    tolerance: float = 0.01,
    log: bool = False,
) -> tuple[Array, Mask]:
    """Fill a fine 2-D grid with the values of a function, calling it only where the surface bends.

    The coarse grid and the centre are measured. Then, level by level, each cell is halved whose
    :func:`~lrscape.landscape.subdivision.bending` exceeds four times the tolerance; its new points are measured, all
    others interpolated by :func:`~lrscape.landscape.subdivision.subdivide`. Next to values that are not finite every
    point is measured, amid them none.

    Args:
        values_at: From coordinates of shape (N, 2) to values of shape (N,), or (N, m) of which the first column
            decides. Called once per level, with points that it has not seen.
        coarse: Points along each side of the grid that is measured whole.
        fine: Points along each side of the result, odd; fine − 1 is coarse − 1 times a power of two.
        span: As in :func:`~lrscape.landscape.grid`.
        tolerance: Error to aim at, as a fraction of the range of the finite values found so far. No bound: what is
            narrower than a coarse cell can be missed.
        log: Work with the logarithm of the first column and its range, so that the floor of a deep valley comes out
            as exact as its rim.

    Returns:
        Values of shape (fine, fine, m), and which of them were measured, shape (fine, fine).

    Raises:
        ValueError: If the sizes do not fit, the tolerance is not positive, or log meets a value that is not.

    Example:
        >>> values, measured = refine(lambda c: c[:, 0] ** 3 + c[:, 1] ** 2, coarse=6, fine=11)
        >>> int(measured.sum()), values[0, -1].tolist()
        (37, [0.0])
    """
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance must be a positive fraction of the range, got {tolerance}")
    strides = _strides(coarse, fine)
    coordinates = grid(fine, span).coordinates.reshape(fine, fine, 2)
    measured = np.zeros((fine, fine), dtype=bool)
    wanted = measured.copy()
    wanted[:: strides[0], :: strides[0]] = True
    wanted[fine // 2, fine // 2] = True
    found: Array | None = None
    work: Array | None = None
    for level in range(len(strides)):
        if wanted.any():
            values = np.asarray(values_at(coordinates[wanted]), dtype=np.float64).reshape(int(wanted.sum()), -1)
            if found is None or work is None:
                found = np.full((fine, fine, values.shape[1]), np.nan)
                work = found.copy()
            found[wanted], work[wanted] = values, _logarithms(values) if log else values
            measured |= wanted
        assert work is not None
        if level == len(strides) - 1:
            break
        filled = _filled(work[..., :1], measured, strides[: level + 1])[..., 0]
        finite = filled[np.isfinite(filled)]
        least = np.inf
        if finite.size:
            least = max(tolerance * float(np.ptp(finite)), _ROUNDING * float(np.abs(finite).max()))
        wanted = points_of_cells(CAUTION * bending(filled) > least, fine) & ~measured
    assert found is not None
    assert work is not None
    result = _filled(work, measured, strides)
    if log:
        result[..., 0] = np.exp(result[..., 0])
    return np.where(measured[..., None], found, result), measured


def evaluate_adaptive(
    model: nn.Module,
    objective: Objective | Closure,
    directions: Directions,
    *,
    coarse: int = 26,
    fine: int = 101,
    span: Span = 1.0,
    tolerance: float = 0.01,
    log: bool = False,
    partial: str | os.PathLike[str] | None = None,
    **options: Any,
) -> LossSurface:
    """Evaluate the loss on a fine 2-D grid, measuring only where the surface bends and interpolating the rest.

    See :func:`refine` for how. The smallest cost is that of the coarse grid: 677 of 10,201 points for the defaults.

    Args:
        model: As in :func:`~lrscape.landscape.evaluate`.
        objective: Likewise.
        directions: Two of them.
        coarse: Points along each side of the grid that is measured whole.
        fine: Points along each side of the result.
        span: As in :func:`~lrscape.landscape.grid`.
        tolerance: Error to aim at, as a fraction of the range of the losses.
        log: Aim at it in the logarithm of the loss; for figures with a logarithmic scale.
        partial: File for the points that are finished, as in :func:`~lrscape.landscape.evaluate`; each level has one
            of its own, with ".1", ".2" and so on behind the name.
        **options: Further options of :func:`~lrscape.landscape.evaluate`.

    Returns:
        The surface on the full grid. Its metric "measured" is 1 where the loss was measured and 0 where it, the other
        metrics and the standard error are interpolated; ``provenance["adaptive"]`` counts them.

    Raises:
        ValueError: As :func:`refine` and :func:`~lrscape.landscape.evaluate` do; or if there are not two directions,
            or a metric is called "measured".

    Example:
        >>> import torch
        >>> from lrscape import landscape
        >>> model = nn.Linear(2, 1, bias=False)
        >>> plane = landscape.directions_from_vectors(model, torch.eye(2))
        >>> surface = evaluate_adaptive(model, lambda: model.weight.square().sum(), plane, coarse=6, fine=11)
        >>> surface.provenance["adaptive"]["measured"]
        37
    """
    if len(directions) != 2:
        raise ValueError(f"an adaptive grid is 2-D, but there are {len(directions)} directions; use evaluate with grid")
    if isinstance(objective, Objective) and "measured" in objective.metrics:
        raise ValueError("no metric may be called 'measured' here: it says which points were; rename it")
    surfaces: list[LossSurface] = []

    def values_at(coordinates: Array) -> Array:
        level = len(surfaces)
        file = None if partial is None else f"{os.fspath(partial)}.{level}" if level else partial
        surfaces.append(evaluate(model, objective, directions, points(coordinates), partial=file, **options))
        last = surfaces[-1]
        error = [] if last.standard_error is None else [last.standard_error]
        return np.stack([last.losses, *last.metrics.values(), *error], axis=1)

    values, measured = refine(values_at, coarse=coarse, fine=fine, span=span, tolerance=tolerance, log=log)
    whole, mask = grid(fine, span), measured.ravel()
    columns = values.reshape(len(whole), -1).T
    first = surfaces[0]
    metrics = {name: _within(columns[1 + i], mask) for i, name in enumerate(first.metrics)}
    count = int(mask.sum())
    before = sum(surface.provenance.get("resumed", 0) for surface in surfaces)
    resumed = {"resumed": before} if before else {}
    adaptive = {
        "measured": count,
        "saved": len(whole) - count,
        "coarse": coarse,
        "tolerance": tolerance,
        "log": log,
        "interpolation": "four-point cubic subdivision",
    }
    return LossSurface(
        coordinates=whole.coordinates,
        losses=columns[0].copy(),
        shape=whole.shape,
        metrics=metrics | {"measured": mask.astype(np.float64)},
        standard_error=None if first.standard_error is None else _within(columns[-1], mask),
        provenance={**first.provenance, **resumed, "points": "adaptive grid", "span": whole.span, "adaptive": adaptive},
    )


def _within(column: Array, measured: Mask) -> Array:
    """Keep interpolated values in the range of the measured ones: no accuracy above 1, no negative error."""
    known = column[measured]
    known = known[np.isfinite(known)]
    return column.copy() if known.size == 0 else np.clip(column, known.min(), known.max())
