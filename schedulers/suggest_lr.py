"""The largest learning rate at which an optimizer is stable, from the sharpness it feels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from torch import Tensor, nn
from torch.optim import Optimizer

from ..landscape import CurvatureOperator, Objective, preconditioned_sharpness
from ..landscape.closure import Closure
from ..landscape.hvp import HessianOptions
from ..landscape.random_vectors import Randomness
from .curvature_measurement import shares


@dataclass(frozen=True, eq=False)
class SuggestedRate:
    """A learning rate and what it rests on.

    Attributes:
        rate: The largest rate that is known to be stable on the quadratic around the present weights, for the group
            with the largest rate: the lower end of ``interval``.
        rates: The same for every group, in the proportions that the optimizer's rates have now.
        interval: c/(λ + residual) and c/λ: between them lies the largest stable rate, unless a loose tolerance let the
            search settle on another eigenvalue than the largest. Infinite where the loss does not curve upwards.
        sharpness: λ_max(P⁻¹H).
        residual: An eigenvalue lies within sharpness ± residual.
        edge: c.
        hvps: Vectors multiplied.
        converged: Whether the residual is within the tolerance.
        vector: Unit eigenvector, to start from next time.
    """

    rate: float
    rates: tuple[float, ...]
    interval: tuple[float, float]
    sharpness: float
    residual: float
    edge: float
    hvps: int
    converged: bool
    vector: Tensor


def suggest_lr(
    model: nn.Module,
    closure: Objective | Closure | CurvatureOperator,
    optimizer: Optimizer,
    *,
    tolerance: float = 1e-3,
    max_hvps: int | None = None,
    start: Tensor | None = None,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> SuggestedRate:
    r"""Suggest the largest stable learning rate, c/λ_max(P⁻¹H), at the present weights.

    On a quadratic, larger rates diverge along the sharpest direction and smaller ones do not (Cohen et al. 2021,
    arXiv:2103.00065; for Adam and kin 2022, arXiv:2207.14484). A real loss curves less as one moves away from a sharp
    place and more as training goes on, and a batch is sharper than the data: take the number as a scale, or let
    :class:`HomotopyLR` measure on.

    Adam and kin: P comes from the optimizer's state. Before the first step it is what that step will make it, |g| + ε,
    and the suggestion is for that step alone; ask again after some dozens of steps.

    Args:
        model: Any module.
        closure: The loss of a batch; or an :class:`~lrscape.landscape.Objective`, for the loss over a dataset; or an
            operator such as :func:`~lrscape.landscape.hessian` opens.
        optimizer: SGD, Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad, or one with Adam's state; it is only read. Of
            its rates only the ratios count; while all are 0, they count alike.
        tolerance: Residual at which to stop, relative to the sharpness.
        max_hvps: Products at most; by default 30.
        start: Where to start, shape (P,); the ``vector`` found last.
        seed: For the random start.
        **options: Of :func:`~lrscape.landscape.hessian`; by default BatchNorm layers use the batch, as in training.

    Returns:
        The rate, its interval, and what they rest on.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the optimizer's rule is not known or it holds no parameter of the model.

    Example:
        >>> import torch
        >>> model = nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
        >>> suggest_lr(model, lambda: 2 * (model.weight ** 2).sum(), optimizer).rate  # (2 + 2·½)/4
        0.75
    """
    if not isinstance(closure, CurvatureOperator):
        options = {"batch_norm": "batch", **options}
    found = preconditioned_sharpness(
        model, closure, optimizer, tolerance=tolerance, max_hvps=max_hvps, start=start, seed=seed, **options
    )
    low, high = found.rate_interval
    rates = tuple(low * share for share in shares(optimizer, found.rate))
    return SuggestedRate(
        low,
        rates,
        (low, high),
        found.sharpness,
        found.residual,
        found.factor,
        found.hvps,
        found.converged,
        found.vector,
    )
