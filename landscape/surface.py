"""Losses at points, with everything needed to say where they come from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import opened_archive
from .files import atomic_write

SCHEMA = 1


@dataclass(frozen=True, eq=False, repr=False)
class LossSurface:
    """Values of a loss at N points in k directions.

    Attributes:
        coordinates: Shape (N, k), float64, in units of the directions.
        losses: Shape (N,), float64; a loss that is not finite is kept as it is.
        shape: Shape of the grid if the points form one, else None.
        metrics: Further values by name, each of shape (N,).
        standard_error: Shape (N,), of each loss over the batches; None where there was a single batch or a closure.
        provenance: Seed, span, norms, engine, model and versions; JSON values only.
    """

    coordinates: NDArray[np.float64]
    losses: NDArray[np.float64]
    shape: tuple[int, ...] | None = None
    metrics: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    standard_error: NDArray[np.float64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.losses)
        columns = {"metrics " + name: value for name, value in self.metrics.items()}
        if self.standard_error is not None:
            columns["standard_error"] = self.standard_error
        if self.losses.ndim != 1 or self.coordinates.ndim != 2 or len(self.coordinates) != n or n == 0:
            raise ValueError(
                "coordinates must have shape (N, k) and losses (N,) with N ≥ 1, got "
                f"{self.coordinates.shape} and {self.losses.shape}"
            )
        for name, value in columns.items():
            if value.shape != (n,):
                raise ValueError(f"{name} must have shape ({n},) like the losses, got {value.shape}")
        if self.shape is not None and (
            math.prod(self.shape) != n or len(self.shape) != self.dims or min(self.shape) < 1
        ):
            raise ValueError(f"shape {self.shape} does not hold {n} points in {self.dims} dimensions")

    def __repr__(self) -> str:
        form = "×".join(map(str, self.shape)) if self.shape else f"{len(self)} points"
        finite = self.losses[np.isfinite(self.losses)]
        lowest = f"{finite.min():.4g}" if len(finite) else "none finite"
        return f"LossSurface({form}, center={self.center:.4g}, lowest={lowest})"

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def dims(self) -> int:
        """Number of directions."""
        return int(self.coordinates.shape[1])

    @property
    def values(self) -> NDArray[np.float64]:
        """Losses in the shape of the grid; flat if there is no grid."""
        return self.losses if self.shape is None else self.losses.reshape(self.shape)

    @property
    def axes(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates along each dimension of the grid.

        Raises:
            ValueError: If the points do not form a grid.
        """
        if self.shape is None:
            raise ValueError("the points of this surface do not form a grid, so it has no axes; use .coordinates")
        grid = self.coordinates.reshape(*self.shape, self.dims)
        return tuple(np.moveaxis(grid[..., i], i, 0).reshape(self.shape[i], -1)[:, 0].copy() for i in range(self.dims))

    @property
    def center_index(self) -> int | None:
        """Index of the point at the origin, None if there is none."""
        hits = np.flatnonzero((self.coordinates == 0).all(axis=1))
        return int(hits[0]) if len(hits) else None

    @property
    def center(self) -> float:
        """Loss at the origin; NaN if the origin is not among the points."""
        index = self.center_index
        return float("nan") if index is None else float(self.losses[index])

    @property
    def minimum(self) -> tuple[NDArray[np.float64], float]:
        """Coordinates and value of the lowest finite loss.

        Raises:
            ValueError: If no loss is finite.
        """
        finite = np.where(np.isfinite(self.losses), self.losses, np.inf)
        index = int(finite.argmin())
        if not np.isfinite(finite[index]):
            raise ValueError("no loss of this surface is finite, so it has no minimum")
        return self.coordinates[index], float(finite[index])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the surface to an ``.npz`` file, atomically.

        Args:
            path: Where; the name is taken as it is.
        """
        header = {"schema": SCHEMA, "shape": self.shape, "provenance": dict(self.provenance)}
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            "coordinates": self.coordinates,
            "losses": self.losses,
            **{f"metric:{name}": value for name, value in self.metrics.items()},
        }
        if self.standard_error is not None:
            arrays["standard_error"] = self.standard_error
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub takes names for allow_pickle

    @staticmethod
    def load(path: str | os.PathLike[str]) -> LossSurface:
        """Read a surface that :meth:`save` wrote; no pickled object is ever loaded.

        Args:
            path: The file.

        Returns:
            The surface.

        Raises:
            TypeError: If ``path`` is no name of a file.
            FileNotFoundError: If there is no such file.
            OSError: If it cannot be opened.
            ValueError: If the file is not a surface, is damaged, or comes from a newer version.
        """
        with opened_archive(path, "is not a loss surface written by lrscape") as archive:
            header = archive.header("header", SCHEMA)
            shape, provenance = header["shape"], header["provenance"]
            if not isinstance(provenance, dict):
                raise ValueError("its provenance is no object")
            if shape is not None and not (isinstance(shape, list) and all(type(n) is int for n in shape)):
                raise ValueError(f"its shape is {shape!r}")
            return LossSurface(
                coordinates=archive["coordinates"].astype(np.float64),
                losses=archive["losses"].astype(np.float64),
                shape=None if shape is None else tuple(shape),
                metrics={
                    name.removeprefix("metric:"): archive[name].astype(np.float64)
                    for name in archive.names
                    if name.startswith("metric:")
                },
                standard_error=archive["standard_error"].astype(np.float64) if "standard_error" in archive else None,
                provenance=provenance,
            )
