"""Weighted means over batches, with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over batches, on the host.

    Attributes:
        values: Shape (5, N, m): Σs, Σw, Σs², Σsw, Σw² over the batches, for m values at N points, s = w·x.
        batches: How many batches.
    """

    values: NDArray[np.float64]
    batches: int

    def results(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute x̄ = Σs/Σw and its standard error, with the batches as the sampling units.

        The error is that of a ratio estimate: SE² = B/(B−1) · Σ w²(x − x̄)² / (Σw)² (Cochran 1977, "Sampling
        Techniques", section 2.11).

        Returns:
            Means and standard errors, each of shape (N, m); standard errors are NaN for a single batch.
        """
        s, w, ss, sw, ww = self.values
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = s / w
            if self.batches < 2:
                return mean, np.full_like(mean, np.nan)
            scatter = np.maximum(ss - 2 * mean * sw + mean * mean * ww, 0)
            error = np.sqrt(scatter * self.batches / (self.batches - 1)) / w
        return mean, error

    @staticmethod
    def joined(parts: Sequence[Totals]) -> Totals:
        """Put the points of several totals behind each other.

        Args:
            parts: Over the same batches, at least one.

        Returns:
            Their points in the order given.
        """
        return Totals(np.concatenate([part.values for part in parts], axis=1), parts[0].batches)

    @staticmethod
    def added(parts: Sequence[Totals]) -> Totals:
        """Add up totals at the same points over different data, in the order given.

        Args:
            parts: At least one.

        Returns:
            Sums over all the data.
        """
        values = parts[0].values.copy()
        for part in parts[1:]:
            values += part.values
        return Totals(values, sum(part.batches for part in parts))


class Sums:
    """Sums over batches for N points and m values, kept on the device until the end.

    Args:
        points: N.
        values: m.
        like: A tensor whose device and dtype the sums take.
    """

    def __init__(self, points: int, values: int, like: Tensor) -> None:
        self._sums = torch.zeros(5, points, values, device=like.device, dtype=like.dtype)
        self._batches = 0

    def add(self, points: slice, sums: Tensor, weights: Tensor) -> None:
        """Add one batch for some points.

        Args:
            points: Which points.
            sums: Shape (number of these points, m).
            weights: Likewise.
        """
        self._sums[:, points] += torch.stack([sums, weights, sums * sums, sums * weights, weights * weights])

    def next_batch(self) -> None:
        """Count a batch."""
        self._batches += 1

    def totals(self) -> Totals:
        """Bring the sums to the host, with one synchronisation.

        Returns:
            The sums.
        """
        return Totals(self._sums.cpu().double().numpy(), self._batches)

    def results(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bring the results to the host, with one synchronisation.

        Returns:
            As :meth:`Totals.results`.
        """
        return self.totals().results()
