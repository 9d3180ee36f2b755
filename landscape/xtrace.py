"""XTrace: the trace of a matrix from its products with vectors, each vector used twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .curvature_operator import CurvatureOperator
from .random_vectors import draw
from .sampling import row_dot


class XTrace:
    r"""The trace estimator of Epperly, Tropp & Webber 2024 (arXiv:2301.07825, section 2.1), grown block by block.

    With n random vectors Ω and an orthonormal basis Q of the range of HΩ, leaving out one ω_i at a time gives a basis
    Q_i that does not know ω_i, and an unbiased estimate: the trace within Q_i is exact, and ω_i samples the rest,

        t_i = tr(Q_iᵀHQ_i) + (P − n + 1) · u_iᵀHu_i / |u_i|²,   u_i = (I − Q_iQ_iᵀ)ω_i.

    The estimate is the mean of the t_i. All Q_i come from one QR factorisation by rank-one corrections, so that n
    vectors cost 2n products. Normalising u_i uses that the direction of a Gaussian vector is uniform in the part that
    is left. Where the matrix has rank below n, the trace within Q is the whole. Kept are Ω, Q and HQ, 3n vectors.

    Args:
        operator: H.
        generator: For the vectors.
    """

    def __init__(self, operator: CurvatureOperator, generator: torch.Generator) -> None:
        self._operator, self._generator = operator, generator
        empty = torch.empty(0, operator.size, device=operator.device, dtype=operator.dtype)
        self._omega, self._q, self._z = empty, empty, empty
        self._r: NDArray[np.float64] = np.zeros((0, 0))
        self._whole: NDArray[np.float64] = np.zeros(0)  # ω_iᵀHω_i
        self._square: NDArray[np.float64] = np.zeros(0)  # |ω_i|²

    @property
    def vectors(self) -> int:
        """n, the number of random vectors so far."""
        return len(self._omega)

    def grow(self, k: int) -> None:
        """Take k more random vectors, with 2k products.

        Args:
            k: How many.
        """
        omega = draw(self._operator, k, self._generator)
        rest = self._operator.matmat(omega)
        self._whole = np.append(self._whole, _numpy(row_dot(omega, rest)))
        self._square = np.append(self._square, _numpy(row_dot(omega, omega)))
        inner = torch.zeros(len(self._q), k, device=rest.device, dtype=rest.dtype)
        for _ in range(2):  # twice, or rounding spoils the basis where little is left
            part = self._q @ rest.T
            rest = rest - part.T @ self._q
            inner += part
        q, corner = torch.linalg.qr(rest.T)
        if len(self._q):
            q, corner = self._apart(q, corner)
        fresh = q.T.contiguous()
        n = self.vectors
        r = np.zeros((n + k, n + k))
        r[:n, :n] = self._r
        r[:n, n:] = _numpy(inner)
        r[n:, n:] = _numpy(corner)
        self._r = r
        self._omega, self._q = torch.cat([self._omega, omega]), torch.cat([self._q, fresh])
        self._z = torch.cat([self._z, self._operator.matmat(fresh)])

    def _apart(self, q: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
        """Make new columns orthogonal to the basis; where nothing was left of one, a random one takes its place."""
        overlap = self._q @ q
        lost = torch.linalg.vector_norm(overlap, dim=0) > 0.5
        q = q - self._q.T @ overlap
        if bool(lost.any()):
            drawn = draw(self._operator, int(lost.sum()), self._generator)
            for _ in range(2):
                drawn = drawn - (drawn @ self._q.T) @ self._q
            q[:, lost] = drawn.T / torch.linalg.vector_norm(drawn, dim=1)
            corner[lost] = 0
        q, again = torch.linalg.qr(q)
        return q, again @ corner

    def samples(self) -> NDArray[np.float64]:
        """Compute the n estimates.

        Returns:
            t_i, shape (n,): exchangeable, but not independent; NaN where a product was not finite.
        """
        n, size = self.vectors, self._operator.size
        h = _numpy(self._q @ self._z.T)
        x = _numpy(self._q @ self._omega.T)  # columns: ω_i in the basis
        t = _numpy(self._z @ self._omega.T)  # columns: QHω_i
        if not (np.isfinite(self._r).all() and np.isfinite(h).all()):
            return np.full(n, np.nan)
        singular = np.linalg.svd(self._r, compute_uv=False)
        if singular[-1] <= 1e-13 * singular[0]:  # of rank below n, exactly: its inverse would be nothing but rounding
            return np.full(n, np.trace(h))
        s = np.linalg.inv(self._r).T
        s /= np.linalg.norm(s, axis=0)  # columns: what Q has beyond Q_i
        within = np.trace(h) - np.einsum("ji,jk,ki->i", s, h, s)
        x_i = x - s * np.einsum("ji,ji->i", s, x)  # ω_i within Q_i
        beyond = self._whole - 2 * np.einsum("ji,ji->i", t, x_i) + np.einsum("ji,jk,ki->i", x_i, h, x_i)
        square = self._square - np.einsum("ji,ji->i", x_i, x_i)
        estimates: NDArray[np.float64] = within + (size - n + 1) * beyond / square
        return estimates


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().cpu().numpy()
