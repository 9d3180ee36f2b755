"""The empirical Fisher matrix of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from .ambient import loss_as_called
from .closure import Closure
from .curvature_operator import CurvatureOperator
from .data_operator import DataOptions, over_data
from .differentiable import check_objective
from .gauss_newton import OutputLinearisation
from .linearisation import Linearisation
from .objective import Objective
from .parameters import Slot


class _Fisher(OutputLinearisation):
    def __init__(self, model: nn.Module, parameters: list[nn.Parameter], losses: Callable[[], Tensor]) -> None:
        super().__init__(model, parameters, losses)
        if self._out.dim() != 1:
            raise ValueError(
                f"losses must be one number per example, shape (N,), got shape {tuple(self._out.shape)}; use "
                "reduction='none', since the gradients of single examples cannot be had from their mean"
            )
        self.weight = torch.tensor(float(len(self._out)), device=self._out.device)

    def _weigh_outputs(self, tangents: Tensor, together: bool) -> Tensor:
        return tangents

    def _slope(self) -> Tensor:
        return torch.ones_like(self._out)


@contextmanager
def fisher(
    model: nn.Module, losses: Objective | Callable[[], Tensor], **options: Unpack[DataOptions]
) -> Iterator[CurvatureOperator]:
    r"""Open the empirical Fisher matrix as an operator, for any estimator.

    F = (1/N)·Σ_i g_i·g_iᵀ with g_i = ∇ℓ_i, the gradient of one example. It is the second moment of the gradients at the
    labels given, not the curvature of the loss: at a minimum the two have little in common (Kunstner, Balles & Hennig
    2019, arXiv:1905.12558). The model is treated as by :func:`~lrscape.landscape.hessian`; no gradient of a single
    example is ever formed.

    Args:
        model: Any module whose losses can be differentiated twice.
        losses: A closure that returns one loss per example, shape (N,); or an :class:`Objective` whose ``loss_fn``
            does.
        **options: ``parameters``, ``batch_norm``, ``dropout`` and ``chunk``; see :func:`~lrscape.landscape.hessian`.

    Yields:
        The operator.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the losses are not one per example, or cannot be differentiated, or an option has another value.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> with fisher(model, lambda: model(torch.tensor([[1.0], [3.0]])).flatten()) as F:
        ...     F.matvec(torch.tensor([1.0])).tolist()  # (1 + 9) / 2
        [5.0]
    """
    check_objective(losses)
    losses = loss_as_called(losses)
    streamed = isinstance(losses, Objective)
    objective: Objective | Closure = losses if isinstance(losses, Objective) else lambda: losses().sum()

    def linearise(slots: list[Slot], batch: Any) -> Linearisation:
        def one_each() -> Tensor:
            found: Any = losses.loss_fn(model, batch) if isinstance(losses, Objective) else losses()
            if not isinstance(found, Tensor):
                name = "loss_fn" if streamed else "losses"
                raise TypeError(f"{name} must return a tensor of one loss per example, got {type(found).__name__}")
            return found

        return _Fisher(model, [slot.parameter for slot in slots], one_each)

    with over_data(model, objective, linearise, **options) as operator:
        yield operator
