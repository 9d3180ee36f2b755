"""The sampled function that every filtration here starts from: which cells count, and which of them touch."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Cells = Literal["vertices", "top"]


def as_array(values: ArrayLike, name: str, needed: str, *, floats: bool = False) -> NDArray[Any]:
    """Make an array of what a user passed.

    Args:
        values: Anything that numpy reads; masked arrays stay masked.
        name: Of the argument, for the message.
        needed: What it must be, for the message.
        floats: Convert to float64.

    Returns:
        The array.

    Raises:
        ValueError: If rows differ in length, or what is to be a number is none.

    Example:
        >>> as_array([[1, 2], [3]], "values", "numbers on a grid")
        Traceback (most recent call last):
        ValueError: values must be numbers on a grid, got rows of different lengths; fill what is missing with NaN
    """
    try:
        return np.asanyarray(values, dtype=np.float64 if floats else None)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(
                f"{name} must be {needed}, got rows of different lengths; fill what is missing with NaN"
            ) from error
        raise ValueError(f"{name} must be {needed}, got {type(values).__name__}: {error}") from error


def read_field(values: ArrayLike, mask: ArrayLike | None = None) -> NDArray[np.float64]:
    """Read a sampled function, with +∞ wherever there is no value.

    NaN and +∞ are what a diverged loss leaves behind, so such cells are holes in the domain, as if masked. −∞ has no
    such reading and would make every depth infinite.

    Args:
        values: Real numbers on a grid of one or more dimensions; the mask of a numpy masked array is respected.
        mask: True where a cell is to be left out; shape of values.

    Returns:
        New float64 array of the same shape, +∞ at NaN, +∞ and masked cells.

    Raises:
        TypeError: If values are not real numbers or mask is not boolean.
        ValueError: If values are empty or 0-dimensional or contain −∞ outside the mask, or the mask's shape differs.

    Example:
        >>> read_field([3, float("nan"), 1], mask=[True, False, False]).tolist()
        [inf, inf, 1.0]
    """
    array = as_array(values, "values", "real numbers on a grid")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"values must be an array of real numbers, got dtype {array.dtype}; convert it to floats")
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"values must have at least one dimension and one cell, got shape {array.shape}; "
            "pass the losses in the shape of their grid"
        )
    outside = np.ma.getmaskarray(array)
    if mask is not None:
        removed = np.asarray(as_array(mask, "mask", "boolean, in the shape of values"))
        if removed.dtype != np.bool_:
            raise TypeError(f"mask must be boolean, True where a cell is left out, got dtype {removed.dtype}")
        if removed.shape != array.shape:
            raise ValueError(f"mask must have the shape of values, {array.shape}, got {removed.shape}")
        outside = outside | removed
    field = np.array(np.ma.getdata(array), dtype=np.float64)
    field[outside | np.isnan(field)] = np.inf
    if np.isneginf(field).any():
        raise ValueError(
            f"values contain -inf in {int(np.isneginf(field).sum())} cells, where depths would be infinite; "
            "mask those cells or replace them by NaN"
        )
    return field


def check_cells(cells: str) -> None:
    """Refuse a name that is not one of the two cubical constructions.

    Args:
        cells: "vertices" or "top".

    Raises:
        ValueError: If it is neither.

    Example:
        >>> check_cells("top")
    """
    if cells not in {"vertices", "top"}:
        raise ValueError(
            f'cells must be "vertices" (values on grid points, 4-connected in the plane) or "top" '
            f"(values on pixels, 8-connected), got {cells!r}"
        )


def neighbour_offsets(ndim: int, cells: Cells) -> list[tuple[int, ...]]:
    """List the steps from a cell to its neighbours, one of each opposite pair.

    Args:
        ndim: Dimension of the grid.
        cells: "vertices" joins along axes (2·ndim neighbours), "top" also diagonally (3^ndim − 1).

    Returns:
        Steps whose first non-zero entry is positive.

    Example:
        >>> neighbour_offsets(2, "vertices")
        [(0, 1), (1, 0)]
        >>> len(neighbour_offsets(3, "top"))
        13
    """
    half = [step for step in product((-1, 0, 1), repeat=ndim) if step > (0,) * ndim]
    return half if cells == "top" else [step for step in half if sum(map(abs, step)) == 1]


def neighbour_slices(offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Give the two views of a grid whose matching entries are neighbours along one offset.

    Args:
        offset: Entries −1, 0 or 1.

    Returns:
        Index of the cells that have this neighbour, and index of those neighbours.

    Example:
        >>> here, there = neighbour_slices((1,))
        >>> list(zip([5, 6, 7][here[0]], [5, 6, 7][there[0]]))
        [(5, 6), (6, 7)]
    """
    ahead = {-1: slice(None, -1), 0: slice(None), 1: slice(1, None)}
    return tuple(ahead[-step] for step in offset), tuple(ahead[step] for step in offset)
