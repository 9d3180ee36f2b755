"""Sharpness as the optimizer feels it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .closure import Closure
from .curvature_operator import CurvatureOperator
from .eigenvalues import top_eigenvalues
from .hvp import HessianOptions, opened
from .objective import Objective
from .random_vectors import Randomness
from .shards import local, local_steps
from .stability import check_optimizer, denominator, stability_factor


class RescaledOperator(CurvatureOperator):
    r"""S·(H + D)·S for diagonal S and D; with S = P^{-½} it has the eigenvalues of P⁻¹(H + D).

    Args:
        operator: H.
        scale: The diagonal of S, shape (P,).
        shift: The diagonal of D, shape (P,).
    """

    def __init__(self, operator: CurvatureOperator, scale: Tensor, shift: Tensor) -> None:
        super().__init__(operator.slots)
        self._operator, self.scale, self._shift = operator, scale, shift

    def _apply(self, vectors: Tensor) -> Tensor:
        inner = vectors * self.scale
        return (self._operator.matmat(inner) + inner * self._shift) * self.scale

    def gradient(self) -> Tensor:
        """Compute the gradient by the rescaled parameters, without that of D."""
        return self._operator.gradient() * self.scale

    def block(self, names: Iterable[str]) -> RescaledOperator:
        """Take a diagonal block."""
        names = list(names)
        chosen = set(self.numbers(names))
        sizes = [slot.parameter.numel() for slot in self.slots]

        def cut(diagonal: Tensor) -> Tensor:
            return torch.cat([part for i, part in enumerate(torch.split(diagonal, sizes)) if i in chosen])

        return RescaledOperator(self._operator.block(names), cut(self.scale), cut(self._shift))


def _fresh(state: dict[str, Any]) -> bool:
    """Tell whether the denominator still has to come from the present gradient."""
    return not state or ("sum" in state and float(state["step"]) == 0)  # Adagrad's state is there from the beginning


def _diagonals(operator: CurvatureOperator, optimizer: Optimizer) -> tuple[Tensor, Tensor, float]:
    """Read scale and shift from an optimizer, and the largest rate of its groups; all count alike while that is 0."""
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    held = [slot for slot in operator.slots if id(slot.parameter) in groups]
    if not held:
        raise ValueError(
            f"{type(optimizer).__name__} holds none of the parameters that count; pass the model that the optimizer "
            "was made for"
        )
    rate = max(float(groups[id(slot.parameter)]["lr"]) for slot in held)
    if not 0 <= rate < float("inf"):
        raise ValueError(f"the largest rate of the optimizer's groups must be finite and not negative, got {rate}")
    fresh = any(_fresh(optimizer.state.get(slot.parameter, {})) for slot in held)
    gradient = operator.gradient() if fresh else torch.zeros(operator.size, device=operator.device)
    gradients = torch.split(gradient, [slot.parameter.numel() for slot in operator.slots])
    scales, shifts = [], []
    for slot, flat in zip(operator.slots, gradients, strict=True):
        group = groups.get(id(slot.parameter))
        whole = flat.to(slot.parameter.device, operator.dtype).reshape(1, *slot.parameter.shape)
        part = local_steps(whole, slot.parameter, slot.canonical)[0]  # what is here of a parameter spread over ranks
        if group is None:  # it does not move
            scales.append(torch.zeros_like(part)[None])
            shifts.append(torch.zeros_like(part)[None])
            continue
        state = {
            name: local(value) if isinstance(value, Tensor) else value
            for name, value in optimizer.state.get(slot.parameter, {}).items()
        }
        decay = 0.0 if group.get("decoupled_weight_decay") else float(group.get("weight_decay", 0.0))
        share = float(group["lr"]) / rate if rate > 0 else 1.0
        below = denominator(optimizer, group, state, part + decay * local(slot.parameter))
        inverse = torch.full_like(part, share) if below is None else share / below
        scales.append(inverse.sqrt()[None])
        shifts.append(torch.full_like(part, decay)[None])
    return operator.join(scales)[0], operator.join(shifts)[0], rate


@contextmanager
def preconditioned(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    optimizer: Optimizer,
    **options: Unpack[HessianOptions],
) -> Iterator[RescaledOperator]:
    r"""Open the Hessian as the optimizer feels it, as an operator for any estimator.

    P^{-½}·H·P^{-½}, similar to P⁻¹H, with P = diag(√v̂ + ε) read from the state of Adam and kin (Cohen et al. 2022,
    arXiv:2207.14484; their P has a further factor 1 − β₁ᵗ, which is 1 after some dozens of steps), of RMSprop or
    Adagrad; P = 1 for SGD. Rates of groups count relative to the largest, weight decay that is part of the gradient is
    added to H. Parameters that the optimizer does not hold do not count.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        optimizer: SGD, Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad, or one with Adam's state; it is only read.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Yields:
        The operator.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the optimizer's rule is not known or it holds no parameter of the model.
    """
    optimizer = check_optimizer(optimizer)
    with opened(model, objective, options) as operator:
        scale, shift, _ = _diagonals(operator, optimizer)
        yield RescaledOperator(operator, scale, shift)


@dataclass(frozen=True, eq=False)
class PreconditionedSharpness:
    """Sharpness as the optimizer feels it, and where its edge is.

    Attributes:
        sharpness: λ_max(P⁻¹H), the lower end of what is known: Ritz values approach it from below.
        residual: Of the rescaled eigenproblem: an eigenvalue lies within sharpness ± residual.
        rate: The largest rate of the groups, η; 0 at the start of some warmups.
        factor: c, see :func:`~lrscape.landscape.stability_factor`.
        edge: c/η: beyond this sharpness the optimizer diverges on a quadratic; infinite while η is 0.
        largest_rate: c/λ_max, the largest stable η; infinite where the loss does not curve upwards, NaN where it has
            diverged.
        vector: Unit eigenvector of the rescaled problem, shape (P,), to start from next time.
        hvps: Vectors multiplied.
        converged: Whether the residual is within the tolerance.
    """

    sharpness: float
    residual: float
    rate: float
    factor: float
    edge: float
    largest_rate: float
    vector: Tensor
    hvps: int
    converged: bool

    @property
    def rate_interval(self) -> tuple[float, float]:
        """The largest stable rate for sharpness + residual, and for the sharpness itself.

        The exact one lies between them if the eigenvalue within the residual is the largest, as it is once the search
        has converged; an end after very few products may be another one's.
        """
        high = self.sharpness + self.residual
        return (float("inf") if high <= 0 else self.factor / high), self.largest_rate


def preconditioned_sharpness(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    optimizer: Optimizer,
    *,
    tolerance: float = 1e-2,
    max_hvps: int | None = None,
    start: Tensor | None = None,
    seed: Randomness = 0,
    **options: Unpack[HessianOptions],
) -> PreconditionedSharpness:
    r"""Measure λ_max(P⁻¹H), and compare it with the optimizer's edge of stability.

    On a quadratic the optimizer diverges where λ_max(P⁻¹H) > c/η. Before the first step of Adam and kin P is what the
    first step will make it, |g| + ε. See :func:`~lrscape.landscape.preconditioned` for P, and
    :func:`~lrscape.landscape.stability_factor` for c.

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`~lrscape.landscape.hessian` opens.
        optimizer: As :func:`~lrscape.landscape.preconditioned` takes it.
        tolerance: As in :func:`~lrscape.landscape.top_eigenvalues`.
        max_hvps: Likewise.
        start: Likewise; the ``vector`` found last.
        seed: Likewise.
        **options: Of :func:`~lrscape.landscape.hessian`.

    Returns:
        Sharpness, edge and the largest stable rate.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the optimizer's rule is not known or it holds no parameter of the model.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        >>> found = preconditioned_sharpness(model, lambda: 2 * (model.weight ** 2).sum(), optimizer)
        >>> found.sharpness, found.edge, found.largest_rate
        (4.0, 30.0, 0.75)
    """
    optimizer = check_optimizer(optimizer)
    with opened(model, objective, options) as operator:
        before = operator.products
        scale, shift, rate = _diagonals(operator, optimizer)
        rescaled = RescaledOperator(operator, scale, shift)
        found = top_eigenvalues(model, rescaled, tolerance=tolerance, max_hvps=max_hvps, start=start, seed=seed)
        hvps = operator.products - before
    sharpness, factor = float(found.eigenvalues[0]), stability_factor(optimizer)
    largest = float("inf") if sharpness <= 0 else factor / sharpness
    residual = float(found.residuals[0])
    edge = factor / rate if rate > 0 else float("inf")
    return PreconditionedSharpness(
        sharpness, residual, rate, factor, edge, largest, found.vectors[0], hvps, found.converged
    )
