"""The eigenvalues at either end of a curvature's spectrum, by Lanczos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .lanczos import Lanczos, Ritz
from .objective import Objective
from .random_vectors import Randomness, draw, generator_from, unit_start

End = Literal["largest", "smallest", "both", "magnitude"]
STIR = 1e-3  # share of a random vector in a given start, so that nothing is orthogonal to it by construction


@dataclass(frozen=True, eq=False)
class TopEigenvalues:
    """Eigenvalues from the ends of a spectrum.

    Attributes:
        eigenvalues: Shape (k,), loss per unit² of the parameters; descending, by magnitude for which="magnitude". They
            lie within the spectrum: the largest is at most λ_max, the smallest at least λ_min. Fewer than k if P is.
        residuals: |Hv − θv|, shape (k,), as the recurrence gives it: a true eigenvalue lies within θ ± residual, beyond
            rounding of the products, about 1e-6·|θ| in float32. Where the next eigenvalue is a gap away, the error is
            at most residual² / gap.
        vectors: Unit vectors, shape (k, P).
        hvps: Vectors multiplied.
        converged: Whether all residuals are within the tolerance.
    """

    eigenvalues: NDArray[np.float64]
    residuals: NDArray[np.float64]
    vectors: Tensor
    hvps: int
    converged: bool


def _choose(values: NDArray[np.float64], k: int, which: End) -> NDArray[np.intp]:
    """Number the k values asked for, out of ascending ones."""
    m = len(values)
    order = np.arange(m)[::-1]
    if which == "magnitude":
        order = np.argsort(-np.abs(values), kind="stable")
    if which == "smallest":
        return order[max(m - k, 0) :]
    if which == "both":
        return order if 2 * k >= m else np.concatenate([order[:k], order[m - k :]])
    return order[:k]


def _check(k: int, which: str, tolerance: float, max_hvps: int | None, block: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1 eigenvalue, got {k}")
    if which not in get_args(End):
        raise ValueError(f"which must be one of {', '.join(get_args(End))}, got {which!r}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance}")
    if block < 1:
        raise ValueError(f"block must be at least 1 vector, got {block}")
    wanted = 2 * k if which == "both" else k
    if max_hvps is not None and max_hvps < wanted:
        raise ValueError(f"max_hvps must be at least {wanted} for {wanted} eigenvalues, got {max_hvps}")


def _start(operator: CurvatureOperator, start: Tensor | None, block: int, generator: torch.Generator) -> Tensor:
    drawn = draw(operator, block, generator)
    if start is None:
        return drawn
    given = unit_start(operator, start)
    if len(given) > block:  # one vector that has a part of each
        given = torch.stack([part.sum(0) for part in given.chunk(block)])
        given = given / torch.linalg.vector_norm(given, dim=1, keepdim=True)
    drawn /= torch.linalg.vector_norm(drawn, dim=1, keepdim=True)
    drawn[: len(given)] *= STIR
    drawn[: len(given)] += given
    return drawn


def _done(ritz: Ritz, chosen: NDArray[np.intp], wanted: int, tolerance: float) -> bool:
    scale = float(np.abs(ritz.values).max(initial=0.0))
    return len(chosen) >= wanted and bool((ritz.residuals[chosen] <= tolerance * scale).all())


def top_eigenvalues(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    k: int = 1,
    *,
    which: End = "largest",
    tolerance: float = 1e-3,
    max_hvps: int | None = None,
    start: Tensor | None = None,
    block: int = 1,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> TopEigenvalues:
    r"""Find the k largest or smallest eigenvalues of the Hessian, with error bounds and eigenvectors.

    Rayleigh–Ritz on a Krylov space that grows by one product at a time, all vectors re-orthogonalised (Lanczos 1950;
    Parlett 1998, "The Symmetric Eigenvalue Problem", chapter 13), until every residual is at most ``tolerance`` times
    the largest |θ|. Eigenvalues converge with the square of the residuals: 1e-3 gives about six digits where the
    eigenvalue stands alone.

    What lies exactly orthogonal to the start stays unseen; a random start excludes it. Of an eigenvalue that occurs
    twice, one vector at a time finds one copy, and the other only late, by rounding: ask for ``block=2`` to see both.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        k: How many, at each end asked for.
        which: "largest" (algebraically), "smallest", "both" ends (k each), or "magnitude".
        tolerance: Residual at which to stop, relative to the largest |θ|.
        max_hvps: Products at most; by default 20 + 10·k per end, at most P.
        start: Where to start, shape (P,) or (n, P), e.g. the vectors found last; random by default. A random part of
            1e-3 is mixed in.
        block: Vectors multiplied at once. Costs less time per vector where they share a pass, but more of them.
        seed: For what is random.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The eigenvalues, descending; NaN where the loss has diverged.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> model = nn.Linear(3, 1, bias=False)
        >>> scale = torch.tensor([1.0, 5.0, -2.0])
        >>> found = top_eigenvalues(model, lambda: (scale * model.weight ** 2).sum() / 2, which="both")
        >>> found.eigenvalues.round(4).tolist()
        [5.0, -2.0]
    """
    _check(k, which, tolerance, max_hvps, block)
    with opened(model, objective, options) as operator:
        before = operator.products
        ends = 2 if which == "both" else 1
        wanted = min(ends * k, operator.size)
        most = min(ends * (20 + 10 * k) if max_hvps is None else max_hvps, operator.size)
        generator = generator_from(seed)
        lanczos = Lanczos(operator, _start(operator, start, min(block, most), generator), generator)
        while True:
            lanczos.advance()
            ritz = lanczos.ritz()
            chosen = _choose(ritz.values, k, which)
            converged = _done(ritz, chosen, wanted, tolerance)
            pending = len(lanczos.pending)
            if converged or pending == 0 or lanczos.steps + pending > most or np.isnan(ritz.values).any():
                break
        return TopEigenvalues(
            eigenvalues=ritz.values[chosen],
            residuals=ritz.residuals[chosen],
            vectors=lanczos.vectors(ritz, chosen),
            hvps=operator.products - before,
            converged=converged,
        )
