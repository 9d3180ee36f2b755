"""Inner products of directions, and orthogonal directions made from them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boxes import boxes, spans
from .shards import Sharding, local, sharding

_AT_ONCE = 2**18  # numbers of each direction that are held in float64


class Gram:
    """A sum of inner products over parameters and blocks of them, in float64.

    Args:
        k: Number of directions.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._sums: dict[object, tuple[Tensor, Sharding | None]] = {}

    def add(self, block: Tensor, spread: Sharding | None = None) -> None:
        """Add some parameters' part.

        Args:
            block: Shape (k, number of parameters).
            spread: How the parameters are spread over ranks, if they are.
        """
        device = torch.device("cpu") if block.device.type == "mps" else block.device  # MPS has no float64
        key = (device, None if spread is None else (spread.mesh, spread.placements))
        if key not in self._sums:
            self._sums[key] = torch.zeros(self._k, self._k, dtype=torch.float64, device=device), spread
        for start in range(0, block.shape[1], _AT_ONCE):
            part = block[:, start : start + _AT_ONCE].to(device, torch.float64)
            self._sums[key][0].addmm_(part, part.T)

    def total(self) -> NDArray[np.float64]:
        """Add up all parts, those of other ranks included.

        Returns:
            Array of shape (k, k), the same on every rank.
        """
        parts = [sums if spread is None else spread.summed(sums) for sums, spread in self._sums.values()]
        total = sum((part.cpu() for part in parts), torch.zeros(self._k, self._k, dtype=torch.float64, device="cpu"))
        return np.asarray(total.numpy())


def gram_of(tensors: list[Tensor], k: int) -> NDArray[np.float64]:
    r"""Compute the inner products of directions that are in memory.

    Args:
        tensors: One per parameter, shape (k, \*parameter.shape).
        k: Their number.

    Returns:
        Array of shape (k, k).

    Example:
        >>> gram_of([torch.tensor([[3.0, 4.0], [0.0, 2.0]])], 2).tolist()
        [[25.0, 8.0], [8.0, 4.0]]
    """
    gram = Gram(k)
    for tensor in tensors:
        spread, part = sharding(tensor, "a direction"), local(tensor)
        part = part if part.dim() > 1 else part[:, None]
        for start, stop in spans(part[0].numel()):
            for box in boxes(tuple(part.shape[1:]), start, stop):
                gram.add(part[(slice(None), *box)].reshape(k, -1), spread)
        if spread is not None and part.numel() == 0:
            gram.add(part.reshape(k, 0), spread)  # so that all ranks add up the same sums
    return gram.total()


def mixing(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find how directions are mixed to be orthogonal as whole vectors, each keeping its length.

    Gram–Schmidt on coefficients: d_i ← |d_i| · r_i / |r_i| with r_i = d_i − Σ_{j<i} ⟨d_i, d_j⟩ d_j / |d_j|², where
    all inner products come from the Gram matrix.

    Args:
        gram: Shape (k, k).

    Returns:
        M, lower triangular, such that the orthogonal directions are Σ_j M_ij d_j.

    Raises:
        ValueError: If a direction lies in the span of those before it.

    Example:
        >>> mixing(np.array([[9.0, 9.0], [9.0, 25.0]])).tolist()
        [[1.0, 0.0], [-1.25, 1.25]]
    """
    k = len(gram)
    mixed = np.eye(k)
    for i in range(k):
        row, length = mixed[i], np.sqrt(gram[i, i])
        for other in mixed[:i]:
            square = other @ gram @ other
            if square > 0:
                row -= (row @ gram @ other) / square * other
        left = np.sqrt(max(row @ gram @ row, 0.0))
        if length > 0 and left <= 1e-6 * length:
            raise ValueError(
                f"{k} orthogonal directions cannot be had: direction {i} (from 0) lies in the span of those before it, "
                "which may be all that the parameters have room for. Use fewer directions, or others."
            )
        row *= length / left if left > 0 else 1.0
    return mixed


def mix_(tensor: Tensor, matrix: NDArray[np.float64]) -> None:
    """Mix directions in place.

    Args:
        tensor: Of k directions; what is here of it is mixed.
        matrix: From :func:`mixing`.
    """
    rows = local(tensor)
    for i in reversed(range(len(matrix))):  # those before are still what they were
        rows[i].mul_(matrix[i, i])
        for j in range(i):
            if matrix[i, j] != 0:
                rows[i].add_(rows[j], alpha=float(matrix[i, j]))


def gram_schmidt(tensors: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """Make directions orthogonal as whole vectors, in place, each keeping its length.

    Args:
        tensors: Of k directions.
        k: Their number.

    Returns:
        The same tensors.

    Raises:
        ValueError: If a direction lies in the span of those before it.
    """
    before = gram_of(list(tensors.values()), k)
    matrix = mixing(before)
    for tensor in tensors.values():
        mix_(tensor, matrix)
    # What is left of nearly parallel directions has a length that their Gram matrix does not tell exactly.
    after = np.diag(gram_of(list(tensors.values()), k))
    factors = np.sqrt(np.divide(np.diag(before), after, out=np.ones(k), where=after > 0))
    for tensor in tensors.values():
        mix_(tensor, np.diag(factors))
    return tensors


def cosines_of(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the cosines of the angles between vectors.

    Args:
        gram: Their inner products, shape (k, k).

    Returns:
        Array of shape (k, k); a vector of length zero has cosine 0 with all, one whose length is not finite has NaN.

    Example:
        >>> cosines_of(np.array([[4.0, 2.0], [2.0, 4.0]])).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    length = np.sqrt(np.diag(gram))
    with np.errstate(invalid="ignore"):  # ∞/∞ and 0·∞
        scale = np.outer(length, length)
        cosines: NDArray[np.float64] = np.divide(gram, scale, out=np.zeros_like(gram), where=~(scale == 0))
    return cosines
