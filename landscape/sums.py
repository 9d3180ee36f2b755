"""Weighted means over batches, with their standard errors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Sums:
    """Sums over batches for N points and m values, kept on the device until the end.

    Mean x̄ = Σs/Σw with s = w·x. Its standard error, with the batches as the sampling units, is that of a ratio
    estimate: SE² = B/(B−1) · Σ w²(x − x̄)² / (Σw)² (Cochran 1977, "Sampling Techniques", section 2.11).

    Args:
        points: N.
        values: m.
        like: A tensor whose device and dtype the sums take.
    """

    def __init__(self, points: int, values: int, like: Tensor) -> None:
        # Σs, Σw, Σs², Σsw, Σw²
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

    def results(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bring the results to the host, with one synchronisation.

        Returns:
            Means and standard errors, each of shape (N, m); standard errors are NaN for a single batch.
        """
        s, w, ss, sw, ww = self._sums.cpu().double().numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = s / w
            if self._batches < 2:
                return mean, np.full_like(mean, np.nan)
            scatter = np.maximum(ss - 2 * mean * sw + mean * mean * ww, 0)
            error = np.sqrt(scatter * self._batches / (self._batches - 1)) / w
        return mean, error
