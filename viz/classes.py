"""What a topology figure draws: homology classes, and which of them exceed the noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import tda
from ..landscape import LossSurface
from .field import Field, read_field

Source = LossSurface | ArrayLike | tda.Diagrams | tda.MergeTree


@dataclass(frozen=True, eq=False)
class Classes:
    """Homology classes of one function.

    Attributes:
        points: For each dimension, rows of (birth, death), ±∞ for a class that never dies.
        above: For each dimension, whether each class exceeds the noise; shape (n,).
        name: What the values are.
        filtered: Whether there is a noise level.
        band: Length up to which classes may be noise, if it is the same everywhere.
        superlevel: Whether the filtration runs from the highest value down.
        values: What a figure's axes should cover besides births and deaths, shape (m,).
    """

    points: tuple[NDArray[np.float64], ...]
    above: tuple[NDArray[np.bool_], ...]
    name: str
    filtered: bool = False
    band: float | None = None
    superlevel: bool = False
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def ends(self) -> NDArray[np.float64]:
        """All finite births, deaths and values, shape (n,)."""
        every: NDArray[np.float64] = np.concatenate([self.values, *[points.ravel() for points in self.points]])
        return every[np.isfinite(every)]

    def lengths(self, dimension: int) -> NDArray[np.float64]:
        """Measure how long classes live.

        Args:
            dimension: Of the classes.

        Returns:
            Shape (n,), ∞ for a class that never dies.
        """
        lived: NDArray[np.float64] = np.abs(self.points[dimension][:, 1] - self.points[dimension][:, 0])
        return lived


def read_classes(
    data: Source,
    *,
    caller: str,
    cells: tda.Cells = "vertices",
    metric: str | None = None,
    label: str | None = None,
    noise: ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> Classes:
    """Read the classes that a figure draws.

    Args:
        data: A surface or an array of values on a grid of any dimension, diagrams, or a merge tree (H0 alone).
        caller: Name of the figure's function, for messages.
        cells: "vertices" or "top"; see :func:`lrscape.tda.persistence`.
        metric: Name of a metric of the surface to take instead of the loss.
        label: Name of the values.
        noise: Standard error of the values; None takes the surface's own, 0 takes all classes as real.
        threshold: Length up to which classes count as noise, whatever the standard error says.
        confidence: Probability that no class above the noise is due to it.

    Returns:
        The classes.

    Raises:
        TypeError: If an argument needs values and there are none.
        ValueError: If the data is no grid, or threshold is negative.
    """
    check_threshold(threshold)
    if isinstance(data, tda.Diagrams | tda.MergeTree):
        refuse_noise(data, noise, metric)
        points = data.points if isinstance(data, tda.Diagrams) else (data.pairs,)
        superlevel = isinstance(data, tda.Diagrams) and data.superlevel
        return _split(points, label or "value", threshold, superlevel=superlevel)
    grid = read_values(data, caller=caller, metric=metric, label=label)
    tree = tda.merge_tree(grid.values, cells)
    points = (tree.pairs, *tda.persistence(grid.values, cells).points[1:])
    error = known_error(grid, noise)
    if error is None or threshold is not None:
        return replace(_split(points, grid.name, threshold), values=grid.values.ravel())
    described = tda.profile(grid.values, error, cells=cells, confidence=confidence)
    split = _split(points, grid.name, described.noise_floor)
    # Basins are judged by the errors where they lie, loops by the largest there is.
    above = (is_among(tree.minima, described.minima), *split.above[1:])
    return replace(split, above=above, band=split.band if error.ndim == 0 else None, values=grid.values.ravel())


def _split(
    points: tuple[NDArray[np.float64], ...], name: str, threshold: float | None, *, superlevel: bool = False
) -> Classes:
    least = -1.0 if threshold is None else threshold
    above = tuple(np.abs(pairs[:, 1] - pairs[:, 0]) > least for pairs in points)
    return Classes(points, above, name, threshold is not None, threshold, superlevel)


def read_values(
    data: LossSurface | ArrayLike, *, caller: str, metric: str | None = None, label: str | None = None
) -> Field:
    """Read values on a grid of any dimension; where an array's points lie does not matter for its topology.

    Args:
        data: A surface, or an array.
        caller: Name of the figure's function, for messages.
        metric: Name of a metric of the surface to take instead of the loss.
        label: Name of the values.

    Returns:
        The field.

    Raises:
        ValueError: If the data is no grid.
    """
    if isinstance(data, LossSurface):
        return read_field(data, dims=data.dims, caller=caller, metric=metric, label=label)
    shape = np.shape(data)
    if not shape or 0 in shape:
        raise ValueError(f"{caller} needs values on a grid, got an array of shape {shape}")
    places = [np.arange(n) for n in shape]
    return read_field(data, dims=len(shape), caller=caller, axes=places, metric=metric, label=label)


def check_threshold(threshold: float | None) -> None:
    """Refuse a threshold that is no length.

    Args:
        threshold: A length, or None.

    Raises:
        ValueError: If it is negative or NaN.
    """
    if threshold is not None and not threshold >= 0:
        raise ValueError(f"threshold must be a length of at least 0, in the units of the values, got {threshold}")


def known_error(field: Field, noise: ArrayLike | None) -> NDArray[np.float64] | None:
    """Choose between the noise that was asked for and the one that the data brings.

    Args:
        field: The values.
        noise: Standard error; None takes the field's own, 0 is none.

    Returns:
        The standard error, 0-d or in the shape of the values; None where there is none.
    """
    error = field.error if noise is None else np.asarray(noise, dtype=np.float64)
    return None if error is None or not error.any() else error


def refuse_noise(data: object, noise: ArrayLike | None, metric: str | None) -> None:
    """Refuse arguments that only values can serve.

    Args:
        data: A result that holds no values.
        noise: As it was given.
        metric: As it was given.

    Raises:
        TypeError: If either was given.
    """
    given = "noise" if noise is not None else "metric" if metric is not None else None
    if given:
        instead = ", or threshold= for a length" if given == "noise" else ""
        raise TypeError(
            f"{given} needs the values, which {type(data).__name__} does not hold; pass the surface{instead}"
        )


def is_among(minima: NDArray[np.intp], chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which places are among others.

    Args:
        minima: Indices into an array, shape (n, ndim).
        chosen: Some of them, shape (m, ndim).

    Returns:
        Shape (n,).

    Example:
        >>> is_among(np.array([[0, 1], [2, 3]]), np.array([[2, 3]])).tolist()
        [False, True]
    """
    places = {tuple(place) for place in chosen.tolist()}
    return np.array([tuple(place) in places for place in minima.tolist()], dtype=bool)
