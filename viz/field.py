"""What a landscape figure draws, read from a surface or from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..landscape import LossSurface

DRAWN_BY = {1: "viz.line", 2: "viz.contour or viz.surface3d"}


@dataclass(frozen=True, eq=False)
class Field:
    """Values on a grid, with their names.

    Attributes:
        axes: Ascending coordinates along each dimension.
        values: Shape (len(axes[0]), …), not necessarily finite.
        name: What the values are.
        labels: What the coordinates are, one label per dimension.
        ranking: What the lowest point is judged by, in the shape of the values: the loss, whatever is drawn.
        ranking_name: Its name.
        error: Standard errors of the values, if they are known.
        bare: Whether it was an array, whose coordinates need not be of one kind.
    """

    axes: tuple[NDArray[np.float64], ...]
    values: NDArray[np.float64]
    name: str
    labels: tuple[str, ...]
    ranking: NDArray[np.float64]
    ranking_name: str
    error: NDArray[np.float64] | None = None
    bare: bool = False

    @property
    def center(self) -> tuple[int, ...] | None:
        """Index of the origin, None if it is not on the grid."""
        hits = [np.flatnonzero(axis == 0) for axis in self.axes]
        return tuple(int(hit[0]) for hit in hits) if all(len(hit) for hit in hits) else None

    @property
    def lowest(self) -> tuple[int, ...] | None:
        """Index of the lowest finite value of the ranking, None if none is lower than another."""
        finite = self.ranking[np.isfinite(self.ranking)]
        if finite.size == 0 or finite.min() == finite.max():
            return None
        flat = int(np.where(np.isfinite(self.ranking), self.ranking, np.inf).argmin())
        return tuple(int(i) for i in np.unravel_index(flat, self.ranking.shape))

    @property
    def missing(self) -> int:
        """Number of values that are not finite."""
        return int((~np.isfinite(self.values)).sum())

    def at(self, index: tuple[int, ...]) -> tuple[float, ...]:
        """Look up coordinates.

        Args:
            index: A place on the grid.

        Returns:
            One coordinate per dimension.
        """
        return tuple(float(axis[i]) for axis, i in zip(self.axes, index, strict=True))


def plain(name: str) -> str:
    """Make a user's name safe and pleasant to read on a figure.

    Args:
        name: E.g. the name of a metric.

    Returns:
        The name with spaces for underscores and without mathematical typesetting.
    """
    return _printable(name).replace("_", " ").replace("$", r"\$")


def verbatim(name: str) -> str:
    r"""Make a name that is to be shown as it is written, e.g. a file's, safe on a figure.

    Args:
        name: Any text.

    Returns:
        The name without mathematical typesetting. One that starts with an underscore, by which matplotlib knows what
        belongs into no legend, starts with a space.

    Example:
        >>> verbatim("run_1$"), verbatim("_draft")
        ('run_1\\$', ' _draft')
    """
    shown = _printable(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _printable(name: str) -> str:
    """Replace what no font has: line breaks, control characters, bytes of a file's name that are no text."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def direction_label(provenance: Mapping[str, Any], index: int, dims: int) -> str:
    """Say what one unit along an axis means.

    Args:
        provenance: Of a surface.
        index: Number of the direction, from 0.
        dims: Number of directions.

    Returns:
        E.g. "direction 1 (filter-normalised)": short enough for an axis of two inches.
    """
    label = f"direction {index + 1}" if dims > 1 else "step along the direction"
    norm, lengths = provenance.get("norm"), provenance.get("direction_norms")
    if norm in {"filter", "layer"}:
        return f"{label} ({norm}-normalised)"
    shares = provenance.get("explained_variance")
    if shares is not None and index < len(shares):
        return f"{label} ({100 * shares[index]:.3g} % of variance)"
    if lengths is not None and index < len(lengths):
        if abs(lengths[index] - 1) < 1e-3:  # as between checkpoints: coordinates are distances in parameter space
            return f"{label} (distance)"
        return f"{label} (1 unit has norm {lengths[index]:.3g})"
    return label


def _from_surface(surface: LossSurface, metric: str | None) -> Field:
    values = surface.losses
    if metric is not None:
        if metric not in surface.metrics:
            known = ", ".join(map(repr, surface.metrics)) or "none"
            raise ValueError(f"metric {metric!r} is not on this surface, whose metrics are: {known}")
        values = surface.metrics[metric]
    error = surface.standard_error if metric is None else None
    if surface.shape is None:
        if surface.dims != 1:
            raise ValueError(
                f"these {len(surface)} points do not form a grid, so no isolines can be drawn through them; evaluate "
                "on landscape.grid(n, span)"
            )
        order = np.argsort(surface.coordinates[:, 0], kind="stable")
        axes: tuple[NDArray[np.float64], ...] = (surface.coordinates[order, 0],)
        values, losses = values[order], surface.losses[order]
        error = None if error is None else error[order]
    else:
        axes, losses = surface.axes, surface.losses.reshape(surface.shape)
        values = values.reshape(surface.shape)
        error = None if error is None else error.reshape(surface.shape)
    labels = tuple(direction_label(surface.provenance, i, surface.dims) for i in range(surface.dims))
    return Field(axes, values, "loss" if metric is None else plain(metric), labels, losses, "loss", error)


def _from_array(values: ArrayLike, axes: Sequence[ArrayLike], dims: int) -> Field:
    array = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    if len(axes) != dims:
        raise ValueError(f"axes must be {dims} arrays of coordinates, one per dimension, got {len(axes)}")
    coordinates = tuple(np.asarray(axis, dtype=np.float64) for axis in axes)
    if array.shape != tuple(axis.size for axis in coordinates) or any(axis.ndim != 1 for axis in coordinates):
        raise ValueError(
            f"values of shape {array.shape} do not fit axes of shapes {', '.join(str(a.shape) for a in coordinates)}; "
            "values[i, …] stands at axes[0][i], …"
        )
    for axis in coordinates:
        if not (np.isfinite(axis).all() and (np.diff(axis) > 0).all()):
            raise ValueError("axes must hold finite, strictly ascending coordinates; sort them and the values alike")
    labels = tuple(f"coordinate {i + 1}" for i in range(dims)) if dims > 1 else ("coordinate",)
    return Field(coordinates, array, "value", labels, array, "value", bare=True)


def read_field(
    data: LossSurface | ArrayLike,
    *,
    dims: int,
    caller: str,
    axes: Sequence[ArrayLike] | None = None,
    metric: str | None = None,
    label: str | None = None,
) -> Field:
    """Read what a figure draws.

    Args:
        data: A surface, or an array of values.
        dims: Number of dimensions that the figure needs.
        caller: Name of the figure's function, for messages.
        axes: For an array, the coordinates along each dimension.
        metric: Name of a metric of the surface to draw instead of the loss.
        label: Name of the values, instead of the one they have.

    Returns:
        The field.

    Raises:
        TypeError: If axes or metric is given where it has no meaning.
        ValueError: If the data has another number of dimensions or is no grid, or the metric is not known.
    """
    is_surface = isinstance(data, LossSurface)
    given = data.dims if isinstance(data, LossSurface) else np.ndim(data)
    if given != dims:
        other = DRAWN_BY.get(given)
        hint = f"use {other}" if other else "draw a slice of it: an array of values with axes="
        raise ValueError(f"{caller} draws {dims}-D data, but this {'surface' if is_surface else 'array'} has {given} "
                         f"dimension{'' if given == 1 else 's'}; {hint}")  # fmt: skip
    if isinstance(data, LossSurface):
        if axes is not None:
            raise TypeError("axes belongs to plain arrays; a LossSurface brings its own coordinates")
        field = _from_surface(data, metric)
    else:
        if metric is not None:
            raise TypeError("metric belongs to a LossSurface, but a plain array was given; pass label= to name it")
        if axes is None:
            shape = " and ".join(f"of length {n}" for n in np.shape(data))
            raise TypeError(f"a plain array needs axes=, the coordinates along each dimension ({shape})")
        field = _from_array(data, axes, dims)
    if label is None:
        return field
    renamed = label if not is_surface else field.ranking_name
    return replace(field, name=label, ranking_name=renamed)
