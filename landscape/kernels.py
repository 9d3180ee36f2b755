"""Kernels that can be differentiated twice, for the length of a forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .second_derivatives import CheapSecondDerivatives


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Switch oneDNN off and back; torch's own context also touches TF32, which warns."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


@contextmanager
def twice_differentiable(model: nn.Module, *, cheap: bool = True) -> Iterator[None]:
    """Choose kernels that have second derivatives, and enable gradients.

    - attention: the MATH kernel; flash and memory-efficient attention have first derivatives only;
    - recurrent layers: without cuDNN and oneDNN, for the same reason;
    - compiled functions run as they were written: what AOTAutograd compiles cannot be differentiated twice.

    A kernel that the model chooses itself, within its forward pass, stays.

    Args:
        model: The model that will run.
        cheap: Also replace convolutions, rectifiers and norms; see
            :class:`~lrscape.landscape.second_derivatives.CheapSecondDerivatives`.

    Yields:
        Nothing.

    Example:
        >>> q = torch.ones(1, 1, 2, 4, requires_grad=True)
        >>> with twice_differentiable(nn.Identity()):
        ...     out = nn.functional.scaled_dot_product_attention(q, q, q)
        >>> (slope,) = torch.autograd.grad((out ** 2).sum(), q, create_graph=True)
        >>> torch.autograd.grad(slope.sum(), q)[0].shape
        torch.Size([1, 1, 2, 4])
    """
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(_without_onednn())
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if cheap:
            stack.enter_context(CheapSecondDerivatives())
        yield


@contextmanager
def quiet_transforms() -> Iterator[None]:
    """Silence remarks of torch's own transforms that are no concern of the user's.

    One is that an operation without a batching rule runs in a loop (slower, not wrong); the other that torch imports
    something deprecated for its first tangent.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        yield
