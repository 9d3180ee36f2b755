"""The Lanczos process with full re-orthogonalisation, one vector or a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .curvature_operator import CurvatureOperator
from .random_vectors import draw


@dataclass(frozen=True, eq=False)
class Ritz:
    """Approximate eigenpairs from a Krylov space of dimension m.

    Attributes:
        values: Ascending, shape (m,).
        residuals: |Hv − θv| of each, shape (m,): there is an eigenvalue of H at most this far from θ.
        coefficients: Ritz vectors in the basis, as columns, shape (m, m).
    """

    values: NDArray[np.float64]
    residuals: NDArray[np.float64]
    coefficients: NDArray[np.float64]


class Lanczos:
    """Grow an orthonormal basis of the Krylov space span{X, HX, H²X, …}, and H within it.

    H·Qᵀ = Qᵀ·T + Rᵀ, with T = QHQᵀ block-tridiagonal (Lanczos 1950; in blocks Golub & Underwood 1977). Every new block
    is orthogonalised twice against all before, so that no eigenvalue appears more than once. Where the space cannot
    grow, since it is invariant, a random vector continues it.

    Args:
        operator: H.
        start: X, shape (b, P); b is the size of the block.
        generator: For vectors that continue an invariant space.

    Attributes:
        steps: m, vectors multiplied so far.
    """

    def __init__(self, operator: CurvatureOperator, start: Tensor, generator: torch.Generator) -> None:
        self._operator, self._generator = operator, generator
        self._basis = torch.empty(0, operator.size, device=operator.device, dtype=operator.dtype)
        self._next = start[: operator.size].to(operator.device, operator.dtype).clone()
        self._inside = np.zeros((0, 0))
        self.steps = 0
        self._orthonormalise()

    @property
    def basis(self) -> Tensor:
        """The rows multiplied so far, shape (m, P)."""
        return self._basis[: self.steps]

    def _project_out(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Make rows orthogonal to others, in place; give the coefficients taken away."""
        taken = vectors.new_zeros(len(vectors), len(others))
        for _ in range(2):  # once leaves what rounding hid behind large coefficients
            coefficients = vectors @ others.T
            vectors.addmm_(coefficients, others, alpha=-1)
            taken += coefficients
        return taken

    def _orthonormalise(self) -> NDArray[np.float64]:
        """Make the next block orthonormal, replacing rows that have vanished; give the factor, rows = factor·block."""
        block = self._next[: self._operator.size - self.steps]
        factor = np.zeros((len(self._next), len(block)))
        small = torch.finfo(block.dtype).eps * max(float(np.abs(self._inside).max(initial=0.0)), 1e-300) * 10
        for i in range(len(self._next)):
            row, done = self._next[i : i + 1], block[: min(i, len(block))]
            factor[i, : len(done)] = self._project_out(row, done)[0].double().cpu().numpy()
            if i >= len(block):
                continue
            length = float(torch.linalg.vector_norm(row))
            if length > small:
                factor[i, i] = length
            else:
                row = draw(self._operator, 1, self._generator)
                self._project_out(row, self.basis)
                self._project_out(row, done)
            block[i] = (row / torch.linalg.vector_norm(row))[0]
        self._next = block
        return factor

    @property
    def pending(self) -> Tensor:
        """The rows to be multiplied next, shape (b, P); none where the basis spans everything."""
        return self._next

    def advance(self) -> None:
        """Multiply what is pending and take it into the basis."""
        self.absorb(self._operator.matmat(self._next))

    def absorb(self, product: Tensor) -> None:
        """Take what was pending into the basis.

        Args:
            product: H times each pending row; it is overwritten.
        """
        block, m = self._next, self.steps
        b = len(block)
        if len(self._basis) < m + b:
            room = min(max(2 * len(self._basis), m + b, 8), self._operator.size)
            basis = self._basis.new_empty(room, self._operator.size)
            basis[:m] = self.basis
            self._basis = basis
        self._basis[m : m + b] = block
        self.steps = m + b
        self._next = product
        taken = self._project_out(self._next, self.basis).double().cpu().numpy()
        inside = np.zeros((m + b, m + b))
        inside[:m, :m] = self._inside
        inside[m:] = taken
        inside[:, m:] = taken.T
        inside[m:, m:] = (taken[:, m:] + taken[:, m:].T) / 2
        self._inside = inside
        self._outside = self._orthonormalise()

    def ritz(self) -> Ritz:
        """Solve the eigenproblem within the basis.

        Returns:
            m approximate eigenpairs; NaN where a product was not finite.
        """
        if not np.isfinite(self._inside).all():
            unknown = np.full(self.steps, np.nan)
            return Ritz(unknown, unknown, np.eye(self.steps))
        values, coefficients = np.linalg.eigh(self._inside)
        b = len(self._outside)
        residuals = np.linalg.norm(self._outside.T @ coefficients[-b:], axis=0)
        return Ritz(values, residuals, coefficients)

    def vectors(self, ritz: Ritz, which: NDArray[np.intp]) -> Tensor:
        """Make Ritz vectors.

        Args:
            ritz: From :meth:`ritz`, of this basis.
            which: Their numbers.

        Returns:
            Unit vectors, shape (number, P).
        """
        coefficients = torch.from_numpy(ritz.coefficients[:, which].T.copy())
        made = coefficients.to(self.basis.device, self.basis.dtype) @ self.basis
        lengths: Tensor = torch.linalg.vector_norm(made, dim=1, keepdim=True)
        return made / lengths
