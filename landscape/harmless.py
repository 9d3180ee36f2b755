"""The first promise: after a probe, everything of the user's is bitwise what it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from .interrupt import DeferredInterrupt
from .modes import BatchNorm, probe_modes
from .randomness import Restore, capture
from .replicas import unsynchronised
from .sharded_gradient import unreduced_aside


def _versioned(tensors: list[Tensor]) -> list[Tensor]:
    # Inference tensors carry no version counter, and asking for it raises.
    return [tensor for tensor in tensors if not tensor.is_inference()]


@contextmanager
def _kept_gradients(model: nn.Module) -> Iterator[None]:
    """Take the gradients away and put the same objects back: what a closure's backward leaves behind is dropped."""
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, gradient in kept:
            if gradient is not None:
                parameter.grad = None
        yield
    finally:
        for parameter, gradient in kept:
            if parameter.grad is not gradient:
                parameter.grad = gradient


@contextmanager
def _kept_buffers(model: nn.Module) -> Iterator[None]:
    """Keep buffers by identity and by value: some modules assign them anew, others write into them."""
    kept = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        for module, name, buffer, value in kept:
            if module._buffers.get(name) is not buffer:
                module._buffers[name] = buffer
            if buffer is not None and value is not None:
                buffer.detach().copy_(value)


@contextmanager
def _kept_values(parameters: list[Tensor], backup: list[Tensor] | Restore) -> Iterator[None]:
    try:
        yield
    finally:
        if callable(backup):
            backup()
        elif parameters:
            torch._foreach_copy_(parameters, backup)


@contextmanager
def harmless(
    model: nn.Module,
    *,
    moved: list[Tensor] | None = None,
    backup: list[Tensor] | Restore | None = None,
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    loader: object = None,
) -> Iterator[tuple[DeferredInterrupt, Restore]]:
    """Prepare a model for a probe and undo every trace of it, also after an exception or an interrupt.

    Kept are parameters and their storage, buffers, ``.grad``, the mode of every submodule, version counters (so
    that a pending backward still works), the random state of Python, NumPy, torch, every device and the loader's
    generators. Inside, gradients are off, by ``no_grad`` and not by inference mode: tensors that a module caches in
    its forward pass would become inference tensors and break the next training step.

    Args:
        model: The user's model.
        moved: Parameters that are written to; of a parameter that is spread over ranks, the part that is here.
        backup: Their values, to copy back, or a function that writes them.
        batch_norm: See :func:`~lrscape.landscape.modes.probe_modes`.
        dropout: Likewise.
        loader: Data loader whose generators are put back.

    Yields:
        The interrupt to check between points, and a function that rewinds the random state.
    """
    moved = moved or []
    parameters = [parameter.detach() for parameter in moved]  # shares storage and version counter
    buffers = [buffer for buffer in model.buffers() if buffer is not None]
    with ExitStack() as stack:
        interrupt = stack.enter_context(DeferredInterrupt())
        restore = capture(loader)
        stack.callback(restore)
        stack.enter_context(torch.no_grad())
        # A cast made under no_grad would stay in the autocast cache and cut the next forward pass off its weights.
        stack.callback(torch.clear_autocast_cache)
        stack.enter_context(_unsafe_preserve_version_counter(tuple(_versioned(moved + buffers))))
        stack.enter_context(unsynchronised())
        stack.enter_context(unreduced_aside(model))
        stack.enter_context(_kept_gradients(model))
        stack.enter_context(_kept_buffers(model))
        stack.enter_context(probe_modes(model, batch_norm, dropout))
        stack.enter_context(_kept_values(parameters, backup or []))
        yield interrupt, restore
