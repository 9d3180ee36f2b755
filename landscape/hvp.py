"""The Hessian of a loss, and its products with vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, Unpack, get_args

from torch import Tensor, nn

from .ambient import loss_as_called
from .closure import Closure
from .curvature_operator import CurvatureOperator
from .data_operator import DataOptions, over_data
from .difference_hessian import DifferenceHessian
from .differentiable import check_graph, check_objective, graph_loss
from .directions import Directions
from .forward_hessian import ForwardHessian
from .linearisation import Linearisation, Loss, NoSecondDerivative
from .objective import Objective
from .parameters import Slot
from .randomness import capture_global
from .reverse_hessian import ReverseHessian
from .sharded_difference import ShardedDifferenceHessian
from .sharded_gradient import check_sharded

Mode = Literal["auto", "reverse", "forward", "difference"]

logger = logging.getLogger("lrscape")


class HessianOptions(DataOptions, total=False):
    """Options of :func:`hessian`."""

    mode: Mode


class _AutoHessian(Linearisation):
    """Reverse over reverse until it turns out not to work, then differences."""

    def __init__(self, model: nn.Module, slots: list[Slot], loss: Loss, settled: list[str]) -> None:
        self._again = capture_global()
        self._model, self._loss, self._settled = model, loss, settled
        self._parameters = [slot.parameter for slot in slots]
        if not settled:
            try:
                reverse = ReverseHessian(model, self._parameters, loss)
                if reverse.linear:  # a custom backward, say, that autograd takes for a constant
                    raise NoSecondDerivative("its gradient has no graph")
                self._inner: Linearisation = reverse
                return
            except NoSecondDerivative as reason:
                self._settle(reason)
        self._inner = DifferenceHessian(self._parameters, loss, self._again)

    def _settle(self, reason: Exception) -> None:
        name = type(self._model).__name__
        logger.info("lrscape: %s has no second derivative, using differences of gradients (%s)", name, reason)
        self._settled.append("difference")

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # the inner one's, which may come with the first product
        return self._inner.weight

    def gradient(self) -> list[Tensor]:
        return self._inner.gradient()

    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        try:
            return self._inner.product(vectors, which, together)
        except NoSecondDerivative as reason:
            self._settle(reason)
            self._inner = DifferenceHessian(self._parameters, self._loss, self._again)
            return self._inner.product(vectors, which, together)


@contextmanager
def hessian(
    model: nn.Module, objective: Objective | Closure, *, mode: Mode = "auto", **options: Unpack[DataOptions]
) -> Iterator[CurvatureOperator]:
    r"""Open the Hessian H = ∇²L of a loss as an operator, for several estimates on one graph.

    Over an :class:`Objective` it is the Hessian of the value that :func:`~lrscape.landscape.evaluate` gives,
    Σ_b w_b·∇²ℓ_b / Σ_b w_b, read in one pass per product, one batch in memory, summed in float64. All estimators
    take the operator in place of the loss. Inside the ``with`` block the model is in the state of a probe and gradients
    are off; afterwards everything is bitwise as it was, also after an exception.

    - "reverse": the graph of the gradient is kept and differentiated once per vector (Pearlmutter 1994), with kernels
      that have second derivatives (plain attention instead of fused, say);
    - "forward": a tangent is carried through forward and backward pass; no graph is kept;
    - "difference": (∇L(θ + hv) − ∇L(θ − hv)) / 2h, where nothing else works; two gradients, about ε^⅔ relative error;
    - "auto": "reverse", or "difference" (logged once) where a kernel has no second derivative.

    Where FSDP2 has spread the parameters over ranks, it is the Hessian of the mean of their losses, by differences;
    all ranks must do the same in step, and vectors are whole on each of them.

    Args:
        model: Any module.
        objective: An :class:`Objective`, or a closure that returns the loss, without backward.
        mode: How products are computed.
        **options: ``parameters`` restricts what counts, see :func:`~lrscape.landscape.parameters.movable`;
            ``batch_norm`` and ``dropout`` as in :func:`~lrscape.landscape.evaluate`; ``chunk``, how many vectors share
            a pass under vmap: by default 16, on a CPU only for up to 20,000 parameters (beyond, it costs time).

    Yields:
        The operator.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the loss cannot be differentiated, or an option has another value.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> with hessian(model, lambda: (model.weight ** 2).sum() * 1.5) as H:
        ...     H.matvec(torch.tensor([1.0, -2.0])).tolist()
        [3.0, -6.0]
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    check_objective(objective)
    objective = loss_as_called(objective)
    settled: list[str] = []

    def linearise(slots: list[Slot], batch: Any) -> Linearisation:
        def loss() -> tuple[Tensor, Tensor]:
            value, weight = graph_loss(model, objective, batch)
            check_graph(model, value)
            return value, weight

        parameters = [slot.parameter for slot in slots]
        if check_sharded(model, parameters):
            if mode not in {"auto", "difference"}:
                raise ValueError(
                    f"mode={mode!r} does not work where FSDP2 has spread the parameters over ranks: its hooks have no "
                    "second derivative; use mode='difference'"
                )
            return ShardedDifferenceHessian(model, parameters, loss, capture_global())
        match mode:
            case "reverse":
                return ReverseHessian(model, parameters, loss)
            case "forward":
                return ForwardHessian(model, slots, partial(graph_loss, model, objective, batch), capture_global())
            case "difference":
                return DifferenceHessian(parameters, loss, capture_global())
        return _AutoHessian(model, slots, loss, settled)

    with over_data(model, objective, linearise, sharded=True, **options) as operator:
        yield operator


@contextmanager
def opened(
    model: nn.Module, objective: Objective | Closure | CurvatureOperator, options: HessianOptions
) -> Iterator[CurvatureOperator]:
    """Take an operator as it is, or open the Hessian of a loss.

    Args:
        model: The model.
        objective: A loss, or an operator.
        options: Of :func:`hessian`.

    Yields:
        The operator.

    Raises:
        ValueError: If there are options for an operator that is open already.
    """
    if isinstance(objective, CurvatureOperator):
        if options:
            raise ValueError(f"{', '.join(options)} must be given where the operator is opened, not with the operator")
        yield objective
    else:
        with hessian(model, objective, **options) as operator:
            yield operator


def hvp(
    model: nn.Module,
    objective: Objective | Closure | CurvatureOperator,
    vectors: Tensor | Directions,
    **options: Unpack[HessianOptions],
) -> Tensor:
    r"""Multiply the Hessian of a loss with vectors.

    Hv = ∂/∂t ∇L(θ + t·v) at t = 0 (Pearlmutter 1994, "Fast exact multiplication by the Hessian").

    Args:
        model: Any module.
        objective: A loss, or an operator such as :func:`hessian` opens.
        vectors: Shape (P,) or (k, P), in the order of ``torch.nn.utils.parameters_to_vector`` over the parameters that
            count; or directions.
        **options: Of :func:`hessian`.

    Returns:
        The products, shaped like ``vectors``; for directions (k, P).

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the shape does not fit, or as :func:`hessian`.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> hvp(model, lambda: model.weight[0, 0] * model.weight[0, 1], torch.tensor([1.0, 2.0])).tolist()
        [2.0, 1.0]
    """
    if not isinstance(vectors, Tensor | Directions):
        raise TypeError(f"vectors must be a torch.Tensor or Directions, got {type(vectors).__name__}")
    with opened(model, objective, options) as operator:
        rows = operator.flat(vectors) if isinstance(vectors, Directions) else vectors
        return operator.matvec(rows) if rows.dim() == 1 else operator.matmat(rows)
