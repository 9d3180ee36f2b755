"""Weight decay that acts where the gradient agrees with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .head_loss import widen

Sign = Literal["cautious", "published"]
Gate = Literal["relative", "published"]


def cvp_gate(
    parameter: Tensor,
    gradient: Tensor,
    *,
    beta: float = 50.0,
    sign: Sign = "cautious",
    gate: Gate = "relative",
) -> Tensor:
    """Say for each number of a parameter how much of the decay it gets.

    corrected: a = σ(β·θ·g / rms(θ·g)); published: a = σ(−β·θ·g).

    Sources: CVP, Patil 2026, doi:10.5281/zenodo.20480620; Cautious Weight Decay, arXiv:2510.12402, which decays where
    an update u along the gradient and θ have the same sign. Two differences, each with its argument: the published sign
    is the reverse of that; and the published β·θ·g is tiny in a network (its gate is .500 ± .008 there, half of L2), so
    that ours is measured in root mean squares of θ·g over the tensor, which makes the gate independent of the scale
    of loss and weights.

    Args:
        parameter: θ, any shape.
        gradient: g, the same shape.
        beta: Steepness; infinity gives the hard gate 1[θ·g ≥ 0] of Cautious Weight Decay.
        sign: "cautious", or "published" for its reverse.
        gate: "relative" divides by the root mean square, "published" does not.

    Returns:
        a in [0, 1], without a graph, in single precision at least. A gradient of zeros gives ½.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> theta, g = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1e-4, -1e-4, 0.0])
        >>> cvp_gate(theta, g).round(decimals=4)
        tensor([1.0000, 0.0000, 0.5000])
        >>> cvp_gate(theta, g, sign="published", gate="published")
        tensor([0.4988, 0.5012, 0.5000])
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta!r}")
    if sign not in ("cautious", "published"):
        raise ValueError(f'sign must be "cautious" or "published", got {sign!r}')
    if gate not in ("relative", "published"):
        raise ValueError(f'gate must be "relative" or "published", got {gate!r}')
    product = widen(parameter.detach()) * widen(gradient.detach())
    if sign == "published":
        product = -product
    if math.isinf(beta):
        return (product >= 0).to(product.dtype)
    if gate == "relative":
        largest = product.abs().amax() if product.numel() else product.sum()
        tiny = torch.finfo(product.dtype).tiny
        product = product / largest.clamp_min(tiny)  # first: the squares of small products would vanish
        product = product / product.square().mean().sqrt().clamp_min(tiny)
    return (beta * product).sigmoid()


def cvp(
    parameters: Iterable[Tensor],
    gradients: Sequence[Tensor | None] | None = None,
    *,
    beta: float = 50.0,
    sign: Sign = "cautious",
    gate: Gate = "relative",
    allow_unused: bool = False,
) -> Tensor:
    """Compute a weight decay whose strength depends on the gradient.

    R = ½·Σ a·θ², with the gate a of :func:`cvp_gate` held constant, so that ∇R = a·θ.

    Source: CVP, Patil 2026, doi:10.5281/zenodo.20480620.

    Args:
        parameters: Those to decay.
        gradients: Their gradients of the loss, in the same order, e.g. of
            ``torch.autograd.grad(loss, parameters, retain_graph=True)``. If None, what a backward pass has left in
            ``.grad``: with the usual ``zero_grad()`` there is nothing before ``backward()``, and that is an error. To
            decay after a backward pass, use :func:`apply_cvp_`, which costs no second one.
        beta: Steepness of the gate.
        sign: "cautious" or "published".
        gate: "relative" or "published".
        allow_unused: Leave parameters without a gradient alone; at least one must have one.

    Returns:
        R, 0-d, in single precision at least. The published coefficient is λ = 1e-2.

    Raises:
        ValueError: If a gradient is missing or numbers do not match.
        TypeError: If a gradient is sparse or complex.

    Example:
        >>> import torch
        >>> theta = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> cvp([theta], [torch.tensor([1.0, -1.0])])
        tensor(0.5000, grad_fn=<SumBackward0>)
    """
    pairs = paired(parameters, gradients, allow_unused)
    return torch.stack([
        (cvp_gate(theta, g, beta=beta, sign=sign, gate=gate) * widen(theta).square()).sum() / 2 for theta, g in pairs
    ]).sum()


@torch.no_grad()
def apply_cvp_(
    parameters: Iterable[Tensor],
    lam: float = 1e-2,
    beta: float = 50.0,
    *,
    sign: Sign = "cautious",
    gate: Gate = "relative",
    allow_unused: bool = False,
) -> None:
    """Add the gradient of λ·R of :func:`cvp` to ``.grad``, between ``backward()`` and ``step()``.

    g += λ·a·θ, with a from g before. Published: g += λ·σ(−β·θ·g)·θ.

    Source: CVP, Patil 2026, doi:10.5281/zenodo.20480620. With GradScaler, call ``scaler.unscale_(optimizer)`` first.

    Args:
        parameters: Those to decay.
        lam: λ.
        beta: Steepness of the gate.
        sign: "cautious" or "published".
        gate: "relative" or "published".
        allow_unused: Leave parameters without a gradient alone; at least one must have one.

    Raises:
        ValueError: If a gradient is missing; none is changed then.
        TypeError: If a gradient is sparse or complex.

    Example:
        >>> import torch
        >>> theta = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> theta.grad = torch.tensor([1.0, -1.0])
        >>> apply_cvp_([theta], lam=0.1)
        >>> theta.grad
        tensor([ 1.1000, -1.0000])
    """
    for theta, g in paired(parameters, None, allow_unused):
        decay = lam * cvp_gate(theta, g, beta=beta, sign=sign, gate=gate) * widen(theta)
        g.add_(decay.to(g.dtype))


def paired(
    parameters: Iterable[Tensor], gradients: Sequence[Tensor | None] | None, allow_unused: bool
) -> list[tuple[Tensor, Tensor]]:
    """Match parameters that require gradients with their gradients, none missing."""
    thetas = [theta for theta in parameters if theta.requires_grad or gradients is not None]
    found = [theta.grad for theta in thetas] if gradients is None else list(gradients)
    if len(found) != len(thetas):
        raise ValueError(f"gradients must be one for each of the {len(thetas)} parameters, got {len(found)}")
    missing = [i for i, g in enumerate(found) if g is None]
    if not thetas or len(missing) == len(thetas) or (missing and not allow_unused):
        raise ValueError(
            f"{len(missing)} of {len(thetas)} parameters have no gradient, the first at place "
            f"{next(iter(missing), 0)}: call loss.backward() before, give gradients=, or pass allow_unused=True for "
            "parameters that take no part in the loss"
        )
    pairs = [(theta, g) for theta, g in zip(thetas, found, strict=True) if g is not None]
    for theta, g in pairs:
        if g.layout != torch.strided or g.is_complex():
            raise TypeError(f"gradients must be dense and real, got {g.dtype} with layout {g.layout}")
        if g.shape != theta.shape:
            raise ValueError(
                f"gradients must have their parameters' shapes, {tuple(theta.shape)}, got {tuple(g.shape)}"
            )
    return pairs


class CVP(nn.Module):
    """Hold the options of :func:`cvp`; add a multiple of what it returns to the loss.

    R = ½·Σ a·θ²

    Source: Patil 2026, doi:10.5281/zenodo.20480620.

    Args:
        beta: Steepness of the gate.
        sign: "cautious" or "published".
        gate: "relative" or "published".
        allow_unused: Leave parameters without a gradient alone.

    Example:
        >>> import torch
        >>> theta = torch.tensor([2.0])
        >>> CVP(beta=float("inf"), sign="published")([theta], [torch.tensor([-1.0])])
        tensor(2.)
    """

    def __init__(
        self,
        *,
        beta: float = 50.0,
        sign: Sign = "cautious",
        gate: Gate = "relative",
        allow_unused: bool = False,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.sign: Sign = sign
        self.gate: Gate = gate
        self.allow_unused = allow_unused

    def forward(self, parameters: Iterable[Tensor], gradients: Sequence[Tensor | None] | None = None) -> Tensor:
        """Compute R.

        Args:
            parameters: Those to decay.
            gradients: Theirs, in the same order; ``.grad`` if None.

        Returns:
            R, 0-d.
        """
        return cvp(
            parameters,
            gradients,
            beta=self.beta,
            sign=self.sign,
            gate=self.gate,
            allow_unused=self.allow_unused,
        )
