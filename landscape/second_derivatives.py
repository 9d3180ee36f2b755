"""Convolution, rectifier and BatchNorm with second derivatives that cost no more than the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

_Settings = tuple[list[int], list[int], list[int], bool, list[int], int]
_backward = torch.ops.aten.convolution_backward
_mask: Callable[..., Tensor] = torch.ops.aten.threshold_backward
_norm_backward: Callable[..., Any] = torch.ops.aten.native_batch_norm_backward


class _ConvolutionBackward(Function):
    """(δ, x, w) → (∂x, ∂w): linear in each of the three, so its own derivatives are convolutions again.

    Differs from torch's in how ∂w is differentiated: torch convolves with a kernel as large as the image, here it is
    the weight gradient of (δ, ẋ), which the library does as fast as in training.
    """

    @staticmethod
    def forward(
        ctx: Any, delta: Tensor, x: Tensor, w: Tensor, settings: _Settings, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.save_for_backward(delta, x, w)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        towards_x, towards_w, _ = _backward(delta, x, w, None, *settings, [*wanted, False])
        return towards_x, towards_w

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None) -> tuple[Tensor | None, ...]:
        delta, x, w = ctx.saved_tensors
        towards_delta = towards_x = towards_w = None
        if ctx.needs_input_grad[0]:
            if a is not None:
                towards_delta = torch.convolution(a, w, None, *ctx.settings)
            if b is not None:
                other = torch.convolution(x, b, None, *ctx.settings)
                towards_delta = other if towards_delta is None else towards_delta + other
        if ctx.needs_input_grad[1] and b is not None:
            towards_x = _backward(delta, x, b, None, *ctx.settings, [True, False, False])[0]
        if ctx.needs_input_grad[2] and a is not None:
            towards_w = _backward(delta, a, w, None, *ctx.settings, [False, True, False])[1]
        return towards_delta, towards_x, towards_w, None, None


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, settings: _Settings) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.settings = settings
        return torch.convolution(x, w, bias, *settings)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            towards_x, towards_w = _apply_backward(delta, x, w, ctx.settings, wanted)
        else:  # also under vmap, which knows torch's operations but not this one
            towards_x, towards_w, _ = _backward(delta, x, w, None, *ctx.settings, [*wanted, False])
        towards_bias = delta.sum((0, *range(2, delta.dim()))) if ctx.needs_input_grad[2] else None
        return towards_x, towards_w, towards_bias, None


class _Masked(Function):
    """δ where y > 0: constant in y almost everywhere, so no gradient flows there; torch sends zeros."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return _mask(delta, y, 0)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        return _mask(delta, ctx.saved_tensors[0], 0), None


class _Rectifier(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            masked: Tensor = _apply_mask(delta, y)
            return masked
        return _mask(delta, y, 0)


class _NormBackward(Function):
    """(δ, x, γ) → (∂x, ∂γ, ∂β) of a BatchNorm with running statistics, which is affine channel by channel.

    ∂x = δ·γr, ∂γ = Σδ·(x − μ)r, ∂β = Σδ with r = 1/√(σ² + ε). Differs from torch's in how it is differentiated: torch
    allows for statistics that depend on x, with three times as many passes over the images.
    """

    @staticmethod
    def forward(
        ctx: Any, delta: Tensor, x: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(delta, x, weight, mean, variance)
        ctx.eps = eps
        ctx.set_materialize_grads(False)
        found: tuple[Tensor | None, ...] = _norm_backward(
            delta, x, weight, mean, variance, None, None, False, eps, [True, True, True]
        )
        return found

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None, c: Tensor | None) -> tuple[Tensor | None, ...]:
        delta, x, weight, mean, variance = ctx.saved_tensors
        shape = (1, -1, *[1] * (x.dim() - 2))
        rest = [0, *range(2, x.dim())]
        scale = (variance + ctx.eps).rsqrt()
        towards_delta = towards_x = towards_w = None
        shift = c
        if b is not None:
            slope = b * scale
            shift = -mean * slope if c is None else c - mean * slope
            towards_x = delta * slope.reshape(shape)
            towards_delta = torch.addcmul(shift.reshape(shape), x, slope.reshape(shape))
        elif c is not None:
            towards_delta = c.reshape(shape).expand_as(delta)
        if a is not None:
            factor = (weight * scale).reshape(shape)
            towards_delta = a * factor if towards_delta is None else torch.addcmul(towards_delta, a, factor)
            towards_w = (a * delta).sum(rest) * scale
        return towards_delta, towards_x, towards_w, None, None, None


class _Norm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, torch.backends.cudnn.enabled)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            parts = _apply_norm_backward(delta, x, weight, mean, variance, ctx.eps)
        else:
            wanted = [bool(need) for need in ctx.needs_input_grad[:3]]
            parts = _norm_backward(delta, x, weight, mean, variance, None, None, False, ctx.eps, wanted)
        return (*parts, None, None, None)


_apply_backward: Callable[..., Any] = _ConvolutionBackward.apply
_apply_mask: Callable[..., Tensor] = _Masked.apply
_convolve: Callable[..., Tensor] = _Convolution.apply
_rectify: Callable[..., Tensor] = _Rectifier.apply
_apply_norm_backward: Callable[..., Any] = _NormBackward.apply
_normalise: Callable[..., Tensor] = _Norm.apply


def _plain(tensors: Iterable[object]) -> bool:
    """Tell whether these are ordinary tensors of one real kind, outside of autocast."""
    known = [tensor for tensor in tensors if tensor is not None]
    if not all(type(tensor) in {Tensor, torch.nn.Parameter} for tensor in known):
        return False
    kinds = {(t.dtype, t.device) for t in known if isinstance(t, Tensor)}
    ((dtype, device),) = kinds if len(kinds) == 1 else ((torch.int, torch.device("cpu")),)
    return dtype.is_floating_point and not torch.is_autocast_enabled(device.type)


def _convolution(dims: int) -> Callable[..., Tensor | None]:
    def each(value: Any) -> list[int]:
        return [value] * dims if isinstance(value, int) else list(value) * (dims // len(value))

    def convolution(
        input: Tensor,  # noqa: A002  torch's name, which may be used as a keyword
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        if isinstance(padding, str) or not _plain((input, weight, bias)) or input.dim() != dims + 2:
            return None
        settings = (each(stride), each(padding), each(dilation), False, [0] * dims, groups)
        made: Tensor = _convolve(input, weight, bias, settings)
        return made

    return convolution


def _rectifier(input: Tensor, inplace: bool = False) -> Tensor | None:  # noqa: A002  as above
    if inplace or not _plain((input,)):
        return None
    made: Tensor = _rectify(input)
    return made


def _norm(
    input: Tensor,  # noqa: A002  as above
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001  torch's signature
    eps: float = 1e-5,
) -> Tensor | None:
    statistics, everything = (running_mean, running_var), (input, running_mean, running_var, weight, bias)
    exact = input.dtype in {torch.float32, torch.float64} and input.dim() >= 2
    if training or not exact or any(tensor is None for tensor in everything) or not _plain(everything):
        return None
    if any(tensor is not None and tensor.requires_grad for tensor in statistics):
        return None
    made: Tensor = _normalise(input, weight, bias, running_mean, running_var, eps)
    return made


_REPLACED: dict[Any, Callable[..., Tensor | None]] = {
    torch.conv1d: _convolution(1),
    torch.conv2d: _convolution(2),
    torch.conv3d: _convolution(3),
    torch.relu: _rectifier,
    Tensor.relu: _rectifier,
    F.relu: _rectifier,
    F.batch_norm: _norm,
}


class CheapSecondDerivatives(TorchFunctionMode):
    """Let convolutions, rectifiers and settled BatchNorm record graphs whose second derivatives are cheap.

    The values are bitwise those of torch, and so are first derivatives but for the order of a bias's sum. Anything
    unusual (autocast, subclasses of Tensor, padding by name, unbatched or complex input, statistics of the batch) is
    left to torch.

    Example:
        >>> x = torch.tensor([2.0, -1.0], requires_grad=True)
        >>> with CheapSecondDerivatives():
        ...     y = (torch.relu(x) ** 3).sum()
        >>> (slope,) = torch.autograd.grad(y, x, create_graph=True)
        >>> torch.autograd.grad(slope.sum(), x)[0].tolist()
        [12.0, 0.0]
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace what is known and ordinary; call everything else."""
        kwargs = kwargs or {}
        replacement = _REPLACED.get(func)
        made = replacement(*args, **kwargs) if replacement is not None and torch.is_grad_enabled() else None
        return func(*args, **kwargs) if made is None else made
