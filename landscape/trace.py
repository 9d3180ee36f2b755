"""The trace of the Hessian, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .hvp import HessianOptions, opened
from .objective import Objective
from .random_vectors import Randomness, generator_from
from .sampling import Samples, check_sampling, row_dot, sample, student_interval
from .xtrace import XTrace

TraceMethod = Literal["auto", "xtrace", "hutchinson"]
LOOKS = 2  # running, at which XTrace's error must be small: few vectors may miss an eigenvalue and look alike
LARGE = 1_000_000  # parameters; beyond, the vectors that XTrace keeps weigh more than the digits they buy


@dataclass(frozen=True, eq=False)
class Trace:
    """An estimated trace.

    Attributes:
        estimate: The trace, loss per unit² of the parameters.
        standard_error: Of the estimate; 0 if it is exact. XTrace's comes from samples that share a basis, and is about
            a tenth to a half too small.
        hvps: Vectors multiplied.
        method: "hutchinson", "xtrace" or "exact".
        samples: What was averaged.
        converged: Whether the stop rule was met.
    """

    estimate: float
    standard_error: float
    hvps: int
    method: str
    samples: NDArray[np.float64]
    converged: bool

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Compute an interval by Student's t.

        For Hutchinson's estimate of a fixed number of samples it covers the trace about as often as it says; a stop
        rule that looks at the error makes it cover a little less often. For XTrace it is a guide only.

        Args:
            confidence: How often the interval should cover the trace.

        Returns:
            Lower and upper end.
        """
        return student_interval(self.estimate, self.standard_error, len(self.samples), confidence)


def _exact(operator: CurvatureOperator) -> Trace:
    eye = torch.eye(operator.size, device=operator.device, dtype=operator.dtype)
    diagonal = operator.matmat(eye).diagonal().double().cpu().numpy()
    return Trace(float(diagonal.sum()), 0.0, operator.size, "exact", diagonal, True)


def _xtrace(operator: CurvatureOperator, tolerance: float | None, max_hvps: int, generator: torch.Generator) -> Trace:
    estimator, most, looks = XTrace(operator, generator), max_hvps // 2, 0
    while True:
        left = most - estimator.vectors
        estimator.grow(left if tolerance is None else min(5, left))
        # one vector has no error: its basis is empty without itself
        found = Samples(estimator.samples(), True)
        error = found.standard_error
        looks = looks + 1 if tolerance is not None and error <= tolerance * abs(found.mean) else 0
        settled = looks >= LOOKS or (looks > 0 and error == 0)
        if settled or estimator.vectors >= most:
            return Trace(found.mean, error, 2 * estimator.vectors, "xtrace", found.values, settled)


def trace(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    *,
    method: TraceMethod = "auto",
    tolerance: float | None = 0.02,
    max_hvps: int = 100,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> Trace:
    r"""Estimate the trace of the Hessian, and how well it is known.

    - "hutchinson": the mean of vᵀHv over vectors of ±1 (Hutchinson 1990); variance 2·Σ_{i≠j} H_ij² per vector; keeps
      nothing.
    - "xtrace": exact within the range of HΩ, sampled beyond (Epperly, Tropp & Webber 2024, arXiv:2301.07825): far more
      accurate where the spectrum decays, as it does in networks; keeps 3 vectors for two products.
    - "auto": XTrace for up to a million parameters, else Hutchinson.

    If ``max_hvps`` suffices to multiply every unit vector, the trace is exact.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        method: Which estimator.
        tolerance: Stop when the standard error is at most this share of the estimate, looked at every ten products, and
            for XTrace at two looks running; None to use all of ``max_hvps``.
        max_hvps: Products at most; XTrace uses an even number.
        seed: For the vectors.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        The estimate.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an option has another value.

    Example:
        >>> model = nn.Linear(3, 1, bias=False)
        >>> trace(model, lambda: (torch.tensor([1.0, 5.0, -2.0]) * model.weight ** 2).sum() / 2).estimate
        4.0
    """
    if method not in get_args(TraceMethod):
        raise ValueError(f"method must be one of {', '.join(get_args(TraceMethod))}, got {method!r}")
    check_sampling(tolerance, max_hvps, 2 if method == "hutchinson" else 4)
    with opened(model, objective, options) as operator:
        if operator.size <= max_hvps:
            return _exact(operator)
        generator = generator_from(seed)
        if method == "xtrace" or (method == "auto" and operator.size <= LARGE):
            return _xtrace(operator, tolerance, max_hvps, generator)
        found = sample(
            operator, row_dot, kind="rademacher", tolerance=tolerance, max_hvps=max_hvps, generator=generator
        )
        n = len(found.values)
        return Trace(found.mean, found.standard_error, n, "hutchinson", found.values, found.settled)
