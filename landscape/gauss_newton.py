"""The Gauss-Newton matrix of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from .ambient import keeps_autocast
from .closure import Closure
from .curvature_operator import CurvatureOperator
from .data_operator import DataOptions, over_data
from .kernels import twice_differentiable
from .linearisation import Linearisation, check_hidden, cut_off, differentiate
from .objective import Objective, Value, weigh
from .parameters import Slot


class OutputLinearisation(Linearisation):
    """Σ Jᵀ·A·J for the Jacobian J of some outputs and a matrix A over them.

    Jv comes from differentiating u ↦ Jᵀu by u, which needs no forward mode.

    Args:
        model: The model.
        parameters: By which to differentiate.
        outputs: Computes the outputs.
    """

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter], outputs: Callable[[], Tensor]) -> None:
        self._parameters = parameters
        with twice_differentiable(model):
            out = outputs()
            if not isinstance(out, Tensor):
                raise TypeError(f"outputs must return a torch.Tensor, got {type(out).__name__}; pick e.g. its .logits")
            if not out.requires_grad:
                raise ValueError(
                    "the outputs have no gradient with respect to the parameters: they were computed under "
                    "torch.no_grad(), detached, or from another model"
                )
            self._out = out
            self._seed = torch.zeros_like(out, requires_grad=True)
            pulled = torch.autograd.grad(out, parameters, self._seed, create_graph=True, allow_unused=True)
        check_hidden(out, pulled)
        used = [part for part in pulled if part is not None]
        if used and (cut_off(used) or not any(part.requires_grad for part in used)):  # it is linear in the seed
            raise ValueError(
                "the outputs cannot be differentiated twice: their graph passes a function whose backward pass is not "
                "tracked (once_differentiable, say); write it with differentiable operations, or take "
                "hessian(…, mode='difference')"
            )
        self._pulled = [
            torch.zeros_like(p) if part is None else part for p, part in zip(parameters, pulled, strict=True)
        ]

    def _weigh_outputs(self, tangents: Tensor, together: bool) -> Tensor:
        """Multiply A with tangents of the outputs, shape (k, *out.shape)."""
        raise NotImplementedError

    def _slope(self) -> Tensor:
        """Give the gradient by the outputs, shaped like them."""
        raise NotImplementedError

    def gradient(self) -> list[Tensor]:
        """Give the gradient of the batch's sum."""
        slope = self._slope()[None]
        return [part[0] for part in differentiate([self._out], self._parameters, [slope], False)]

    def product(self, vectors: list[Tensor], which: Sequence[int], together: bool) -> list[Tensor]:
        """Multiply; see the base class."""
        (tangents,) = differentiate([self._pulled[i] for i in which], [self._seed], vectors, together)
        weighed = self._weigh_outputs(tangents, together)
        return differentiate([self._out], [self._parameters[i] for i in which], [weighed], together)


class _GaussNewton(OutputLinearisation):
    def __init__(
        self,
        model: nn.Module,
        parameters: list[nn.Parameter],
        outputs: Callable[[], Tensor],
        loss: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        super().__init__(model, parameters, outputs)
        self._leaf = self._out.detach().requires_grad_()
        with torch.enable_grad():
            value, weight = loss(self._leaf)
            if not value.requires_grad:
                raise ValueError("loss must depend on the outputs that it is given, but its value has no graph to them")
            (self._by_outputs,) = torch.autograd.grad(value, self._leaf, create_graph=True)
        self.weight = weight

    def _weigh_outputs(self, tangents: Tensor, together: bool) -> Tensor:
        return differentiate([self._by_outputs], [self._leaf], [tangents], together)[0]

    def _slope(self) -> Tensor:
        return self._by_outputs.detach()


@contextmanager
def gauss_newton(
    model: nn.Module,
    outputs: Callable[..., Tensor],
    loss: Callable[..., Value],
    loader: Iterable[Any] | None = None,
    **options: Unpack[DataOptions],
) -> Iterator[CurvatureOperator]:
    r"""Open the Gauss-Newton matrix of a loss as an operator, for any estimator.

    G = Σ_b Jᵀ·∇²_z ℓ·J / Σ_b w_b with J = ∂z/∂θ for the outputs z (Schraudolph 2002, "Fast curvature matrix-vector
    products for second-order gradient descent"): the Hessian without the curvature of the network itself, positive
    semi-definite where the loss is convex in the outputs. For a softmax with cross-entropy, and for squared errors, it
    is the Fisher matrix of the model. The model is treated as by :func:`~lrscape.landscape.hessian`.

    Args:
        model: Any module whose outputs can be differentiated twice.
        outputs: Without a loader ``outputs() -> z``, with one ``outputs(model, batch) -> z``; z is one tensor.
        loss: Without a loader ``loss(z)``, with one ``loss(z, batch)``: a 0-d tensor, or with a loader also a pair
            (sum, count) or one loss per example, weighed as by :class:`Objective`.
        loader: Batches, for the mean over a dataset.
        **options: ``parameters``, ``batch_norm``, ``dropout`` and ``chunk``; see :func:`~lrscape.landscape.hessian`.

    Yields:
        The operator.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If something cannot be differentiated, or an option has another value.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> with gauss_newton(model, lambda: model(torch.tensor([[3.0]])), lambda z: (z ** 2).sum() / 2) as G:
        ...     G.matvec(torch.tensor([1.0])).tolist()
        [9.0]
    """
    for name, function in (("outputs", outputs), ("loss", loss)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}")
    outputs, loss = keeps_autocast(outputs), keeps_autocast(loss)
    objective: Objective | Closure
    if loader is None:
        objective = lambda: weigh(loss(outputs()), None, "loss")[0]  # noqa: E731  only for the statistics of "recalibrate"
    else:
        objective = Objective(lambda model, batch: loss(outputs(model, batch), batch), loader)

    def linearise(slots: list[Slot], batch: Any) -> Linearisation:
        parameters = [slot.parameter for slot in slots]
        if loader is None:
            return _GaussNewton(model, parameters, outputs, lambda z: weigh(loss(z), None, "loss"))
        return _GaussNewton(
            model, parameters, lambda: outputs(model, batch), lambda z: weigh(loss(z, batch), batch, "loss")
        )

    with over_data(model, objective, linearise, **options) as operator:
        yield operator
