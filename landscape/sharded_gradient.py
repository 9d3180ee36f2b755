"""The gradient of a model that FSDP2 has spread over ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .ranks import Ranks
from .shards import any_spread, fsdp_modules, is_spread, local, reshard


def check_sharded(model: nn.Module, parameters: Sequence[Tensor]) -> bool:
    """Tell whether the gradient has to be computed the way of this file, and whether it can be.

    Args:
        model: The model.
        parameters: Those by which to differentiate.

    Returns:
        Whether some of them are spread over ranks.

    Raises:
        ValueError: If they are, but not by fully_shard, or an optimizer step would run within the backward pass.
    """
    if not any_spread(parameters):
        return False
    if not fsdp_modules(model):
        raise ValueError(
            "parameters are spread over ranks (DTensor), but not by fully_shard, and gradients of such a model are not "
            "known here; measure on a whole copy of the model, or by forward passes alone"
        )
    if any(getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in model.parameters()):
        raise ValueError(
            "a hook is registered with register_post_accumulate_grad_hook, and under FSDP2 a probe's backward pass "
            "would run it (an optimizer step, perhaps); remove it, or measure by forward passes alone"
        )
    return True


def coarsest_precision(model: nn.Module) -> float:
    """Give the precision in which FSDP2 computes with the parameters.

    Args:
        model: With modules that fully_shard was applied to.

    Returns:
        The largest machine epsilon of all mixed-precision policies; 0 where none has a dtype of its own.
    """
    types = [group.mp_policy.param_dtype for _, group in _groups(model)]
    return max((torch.finfo(dtype).eps for dtype in types if dtype is not None), default=0.0)


def sharded_gradient(
    model: nn.Module, parameters: Sequence[Tensor], loss: Callable[[], tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Compute the mean over ranks of the gradients of their losses, by a backward pass as training does.

    :func:`torch.autograd.grad` would not do: FSDP2 differentiates by whole parameters that exist for one pass only, and
    hands the mean over ranks out in ``.grad``. All ranks must call this.

    Args:
        model: The model, resharded, its gradients taken away.
        parameters: Those by which to differentiate.
        loss: Computes sum and weight of this rank's loss.

    Returns:
        For each parameter what this rank holds of the gradient; this rank's loss; the mean weight over ranks.
    """
    reshard(model)
    try:
        with torch.enable_grad(), _reducing(model):
            value, weight = loss()
            value.backward()  # type: ignore[no-untyped-call]
        gradients = [
            torch.zeros_like(local(parameter)) if parameter.grad is None else local(parameter.grad)
            for parameter in parameters
        ]
    finally:
        reshard(model)
        for parameter in model.parameters():
            parameter.grad = None
    ranks = Ranks()
    weights = ranks.gather(weight.detach().item())
    whole = [
        gradient if is_spread(parameter) else ranks.summed(gradient) / ranks.size
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return whole, value.detach(), torch.full_like(weight.detach(), sum(weights) / ranks.size)


def _groups(model: nn.Module) -> Iterator[tuple[Any, Any]]:
    """List FSDP2's state of each module with each of its groups of parameters."""
    for module in fsdp_modules(model):
        state = module._get_fsdp_state()
        groups = getattr(state, "_fsdp_param_groups", None)  # one only in older versions of torch
        groups = [state._fsdp_param_group] if groups is None else groups
        yield from ((state, group) for group in groups if group is not None)


@contextmanager
def _reducing(model: nn.Module) -> Iterator[None]:
    """Have FSDP2 reduce this backward pass, also where the user accumulates without reducing."""
    kept = [
        (state._state_ctx, state._state_ctx.is_last_backward, group, group.reduce_grads, group.all_reduce_grads)
        for state, group in _groups(model)
    ]
    try:
        for context, _, group, _, _ in kept:
            context.is_last_backward = group.reduce_grads = group.all_reduce_grads = True
        yield
    finally:
        for context, last, group, reduce, all_reduce in kept:
            context.is_last_backward, group.reduce_grads, group.all_reduce_grads = last, reduce, all_reduce


@contextmanager
def unreduced_aside(model: nn.Module) -> Iterator[None]:
    """Take away the gradients that FSDP2 keeps while the user accumulates without reducing, and put them back.

    They belong to whole parameters, which the model shows during a forward pass; a backward pass would add to them.

    Args:
        model: Any module.

    Yields:
        Nothing.
    """
    kept = [
        (parameter, parameter.unsharded_accumulated_grad, parameter._unsharded_param.grad)
        for _, group in _groups(model)
        for parameter in group.fsdp_params
        if hasattr(parameter, "_unsharded_param")
    ]
    try:
        for parameter, _, _ in kept:
            parameter.unsharded_accumulated_grad = parameter._unsharded_param.grad = None
        yield
    finally:
        for parameter, accumulated, unreduced in kept:
            parameter.unsharded_accumulated_grad = accumulated
            parameter._unsharded_param.grad = unreduced
