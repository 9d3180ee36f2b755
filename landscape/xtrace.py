"""XTrace: the trace of a matrix from its products with vectors, each vector used twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .curvature_operator import CurvatureOperator
from .random_vectors import draw


class XTrace:
    r"""The trace estimator of Epperly, Tropp & Webber 2024 (arXiv:2301.07825, section 2.1), grown block by block.

    With n random vectors Ω and an orthonormal basis Q of the range of HΩ, leaving out one ω_i at a time gives a basis
    Q_i that does not know ω_i, and an unbiased estimate: the trace within Q_i is exact, and ω_i samples the rest,

        t_i = tr(Q_iᵀHQ_i) + (P − n + 1) · u_iᵀHu_i / |u_i|²,   u_i = (I − Q_iQ_iᵀ)ω_i.

    The estimate is the mean of the t_i. All Q_i come from one QR factorisation by rank-one corrections, so that n
    vectors cost 2n products. Normalising u_i uses that the direction of a Gaussian vector is uniform in the part that
    is left. Where the matrix has rank below n, the trace within Q is the whole.

    Args:
        operator: H.
        generator: For the vectors.
    """

    def __init__(self, operator: CurvatureOperator, generator: torch.Generator) -> None:
        self._operator, self._generator = operator, generator
        empty = torch.empty(0, operator.size, device=operator.device, dtype=operator.dtype)
        self._omega, self._y, self._q, self._z = empty, empty, empty, empty
        self._r: NDArray[np.float64] = np.zeros((0, 0))

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
        y = self._operator.matmat(omega)
        rest, inner = y.clone(), torch.zeros(len(self._q), k, device=y.device, dtype=y.dtype)
        for _ in range(2):  # twice, or rounding spoils the basis where little is left
            part = self._q @ rest.T
            rest -= part.T @ self._q
            inner += part
        q, corner = torch.linalg.qr(rest.T)
        if len(self._q):  # where nothing but rounding is left, the factor is not orthogonal to what came before
            q = q - self._q.T @ (self._q @ q)
            q, again = torch.linalg.qr(q)
            corner = again @ corner
        fresh = q.T.contiguous()
        n = self.vectors
        r = np.zeros((n + k, n + k))
        r[:n, :n] = self._r
        r[:n, n:] = _numpy(inner)
        r[n:, n:] = _numpy(corner)
        self._r = r
        self._omega, self._y = torch.cat([self._omega, omega]), torch.cat([self._y, y])
        self._q, self._z = torch.cat([self._q, fresh]), torch.cat([self._z, self._operator.matmat(fresh)])

    def samples(self) -> NDArray[np.float64]:
        """Compute the n estimates.

        Returns:
            t_i, shape (n,): exchangeable, but not independent.
        """
        n, size = self.vectors, self._operator.size
        h = _numpy(self._q @ self._z.T)
        x = _numpy(self._q @ self._omega.T)  # columns: ω_i in the basis
        t = _numpy(self._z @ self._omega.T)  # columns: QHω_i
        if not np.isfinite(self._r).all():
            return np.full(n, np.nan)
        singular = np.linalg.svd(self._r, compute_uv=False)
        if singular[-1] <= 10 * torch.finfo(self._operator.dtype).eps * size**0.5 * singular[0]:
            return np.full(n, np.trace(h))
        s = np.linalg.inv(self._r).T
        s /= np.linalg.norm(s, axis=0)  # columns: what Q has beyond Q_i
        within = np.trace(h) - np.einsum("ji,jk,ki->i", s, h, s)
        x_i = x - s * np.einsum("ji,ji->i", s, x)  # ω_i within Q_i
        whole = _numpy((self._omega * self._y).sum(1)[:, None])[:, 0]
        beyond = whole - 2 * np.einsum("ji,ji->i", t, x_i) + np.einsum("ji,jk,ki->i", x_i, h, x_i)
        square = _numpy((self._omega * self._omega).sum(1)[:, None])[:, 0] - np.einsum("ji,ji->i", x_i, x_i)
        estimates: NDArray[np.float64] = within + (size - n + 1) * beyond / square
        return estimates


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.double().cpu().numpy()
