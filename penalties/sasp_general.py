"""Squared per-example gradients of any parameters of any model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from .head_loss import widen

Method = Literal["auto", "vmap", "loop"]
LossFunction = Callable[[nn.Module, Any], Tensor]

# On a CPU batching saves the overhead of single operations, but the gradients of many examples leave the caches:
# measured, it wins up to some 1e5 parameters if a chunk holds about a million numbers, and loses beyond.
CPU_PARAMETERS = 2**17
CPU_NUMBERS = 2**20
DEVICE_NUMBERS = 2**28  # of gradients in one chunk on an accelerator: 1 GiB in single precision


class _Loss(nn.Module):
    """Owns the model and calls the loss, so that torch can put other parameters in its place."""

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn

    def forward(self, batch: Any) -> Tensor:
        """Compute the loss of a batch of one."""
        loss: Tensor = self.loss_fn(self.model, batch)
        if loss.numel() != 1:
            raise ValueError(f"loss_fn must return the loss of one example as a 0-d tensor, got {tuple(loss.shape)}")
        return loss.reshape(())


def sasp_general(
    loss_fn: LossFunction,
    model: nn.Module,
    batch: Any,
    *,
    parameters: Iterable[Tensor] | None = None,
    method: Method = "auto",
    chunk_size: int | None = None,
) -> Tensor:
    """Compute the mean squared norm of the gradients of single examples.

    R = (1/B)·Σ_i |∇ℓ_i|², the trace of the empirical Fisher matrix.

    Source: SASP, Patil 2026, doi:10.5281/zenodo.20480620, there by a loop over the examples. R is differentiable, at
    the cost of a second derivative. For a linear head :func:`~lrscape.penalties.sasp` is exact and nearly free.

    Args:
        loss_fn: ``loss_fn(model, batch) -> Tensor``; it gets batches of one example.
        model: The model. Batch normalisation must be in eval mode: with the statistics of a batch an example has no
            gradient of its own. Dropout draws anew for each example.
        batch: Any structure of tensors whose first dimension counts the examples, e.g. (x, y) or a dict.
        parameters: Those of the model to differentiate in; all that require gradients if None.
        method: "vmap" batches the examples, "loop" takes one after the other. "auto" chooses by device, number of
            parameters and kind of layers, never by a timing, and falls back to the loop, with a warning, where
            operations of the model cannot be batched.
        chunk_size: Examples per batched call; if None, as many as keep their gradients in cache or memory.

    Returns:
        R, 0-d, in single precision at least.

    Raises:
        ValueError: If the batch is empty or uneven, parameters are not the model's, a layer needs the statistics of a
            batch, or the loss ignores the model.
        RuntimeError: If memory runs out; a smaller ``chunk_size`` needs less.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
        >>> sasp_general(lambda model, x: model(x).sum(), model, x)  # (25 + 1) / 2
        tensor(13.)
    """
    if method not in ("auto", "vmap", "loop"):
        raise ValueError(f'method must be "auto", "vmap" or "loop", got {method!r}')
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size!r}")
    chosen = _select(model, parameters)
    _refuse_batch_statistics(model)
    leaves, structure = pytree.tree_flatten(batch)
    shared = [None if isinstance(leaf, Tensor) and leaf.dim() else leaf for leaf in leaves]
    split = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()]
    sizes = {len(leaf) for leaf in split}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"batch must hold tensors with the same number of examples in their first dimension, got {sorted(sizes)}"
        )
    size = sizes.pop()
    count = sum(parameter.numel() for parameter in chosen.values())
    on_cpu = next(iter(chosen.values())).device.type == "cpu"
    wrapped = _Loss(model, loss_fn)

    def rebuild(parts: list[Tensor]) -> Any:
        rest = iter(parts)
        return pytree.tree_unflatten([next(rest) if leaf is None else leaf for leaf in shared], structure)

    def looped() -> Tensor:
        squares = [_one(wrapped, chosen, rebuild([leaf[i : i + 1] for leaf in split])) for i in range(size)]
        return _checked(torch.stack(squares).mean())

    def batched() -> Tensor:
        def square(values: dict[str, Tensor], *parts: Tensor) -> Tensor:
            gradients = grad(lambda values: functional_call(wrapped, values, (rebuild([p[None] for p in parts]),)))
            return _square(gradients(values).values())

        chunk = chunk_size or max(1, (CPU_NUMBERS if on_cpu else DEVICE_NUMBERS) // count)
        over = (None, *[0] * len(split))
        result: Tensor = vmap(square, in_dims=over, randomness="different", chunk_size=chunk)(chosen, *split)
        return _checked(result.mean())

    # torch batches recurrent layers by a loop of its own, or not at all.
    slow = (on_cpu and count > CPU_PARAMETERS) or any(isinstance(module, nn.RNNBase) for module in model.modules())
    # Fused attention has no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        if method == "loop" or (method == "auto" and slow):
            return looped()
        if method == "vmap":
            return batched()
        try:
            return batched()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            result = looped()  # first, for an error of the user's own comes up here again
            reason = str(error).splitlines()[0][:120]
            warnings.warn(f'examples cannot be batched: {reason}. Pass method="loop"', RuntimeWarning, stacklevel=2)
            return result


def _select(model: nn.Module, parameters: Iterable[Tensor] | None) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {f"model.{name}": parameter for name, parameter in model.named_parameters()}
    if parameters is None:
        chosen = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    else:
        wanted = {id(parameter) for parameter in parameters}
        chosen = {name: parameter for name, parameter in named.items() if id(parameter) in wanted}
        if len(chosen) != len(wanted):
            raise ValueError(f"parameters must be the model's own: {len(wanted) - len(chosen)} are not")
    if not chosen or not all(parameter.requires_grad for parameter in chosen.values()):
        raise ValueError("parameters that require gradients are needed: freeze fewer, or pass others as parameters=")
    return chosen


def _refuse_batch_statistics(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ValueError(
                f"layer {name or type(module).__name__!r} of model normalises by the statistics of a batch, so single "
                "examples have no gradients of their own: put it in eval mode"
            )


def _square(gradients: Iterable[Tensor]) -> Tensor:
    return torch.stack([widen(gradient).square().sum() for gradient in gradients]).sum()


def _one(wrapped: _Loss, chosen: dict[str, Tensor], example: Any) -> Tensor:
    """Square the gradient of one example; keep its graph where the caller wants one."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        loss = wrapped(example)
        if not loss.requires_grad:
            raise ValueError(IGNORED)
        values = list(chosen.values())
        gradients = torch.autograd.grad(loss, values, create_graph=keep, allow_unused=True)
    used = [gradient for gradient in gradients if gradient is not None]
    return _square(used) if used else torch.zeros_like(widen(loss.detach()))


IGNORED = "loss_fn must use the model it is given: its loss does not depend on the parameters"


def _checked(result: Tensor) -> Tensor:
    """Refuse a zero that comes from a loss without the model; a loss linear in the parameters has no graph either."""
    if torch.is_grad_enabled() and not result.requires_grad and not result.any():
        raise ValueError(IGNORED)
    return result


class GeneralSASP(nn.Module):
    """Hold the options of :func:`sasp_general`; add a multiple of what it returns to the loss.

    R = (1/B)·Σ_i |∇ℓ_i|²

    Source: Patil 2026, doi:10.5281/zenodo.20480620.

    Args:
        loss_fn: ``loss_fn(model, batch) -> Tensor``; it gets batches of one example.
        method: "auto", "vmap" or "loop".
        chunk_size: Examples per batched call.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> GeneralSASP(lambda model, x: model(x).sum())(model, torch.tensor([[3.0]]))
        tensor(9.)
    """

    def __init__(self, loss_fn: LossFunction, *, method: Method = "auto", chunk_size: int | None = None) -> None:
        super().__init__()
        self.loss_fn = loss_fn
        self.method: Method = method
        self.chunk_size = chunk_size

    def forward(self, model: nn.Module, batch: Any, parameters: Iterable[Tensor] | None = None) -> Tensor:
        """Compute R.

        Args:
            model: The model.
            batch: Any structure of tensors whose first dimension counts the examples.
            parameters: Those to differentiate in; all that require gradients if None.

        Returns:
            R, 0-d.
        """
        return sasp_general(
            self.loss_fn, model, batch, parameters=parameters, method=self.method, chunk_size=self.chunk_size
        )
