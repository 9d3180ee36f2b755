"""Agreement of the gradient with its own slow average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .head_loss import widen

NAME = "average_"


def dmta(gradients: Sequence[Tensor], average: Sequence[Tensor]) -> Tensor:
    """Compute one minus the cosine between the gradient and a direction that is held constant.

    R = 1 − cos(g, sg m) over all parameters together

    Source: DMTA, Patil 2026, doi:10.5281/zenodo.20480620, after AdEMAMix (arXiv:2409.03137).

    Args:
        gradients: g, one tensor per parameter; for R to act on the parameters, with their graph
            (``torch.autograd.grad(loss, parameters, create_graph=True)``).
        average: m, of the same shapes.

    Returns:
        R in [0, 2], 0-d, in single precision at least; 1 where g or m is 0. The published coefficient is λ = 1e-2.

    Raises:
        ValueError: If shapes differ, or there are none.

    Example:
        >>> g = [torch.tensor([3.0, 4.0])]
        >>> dmta(g, [torch.tensor([6.0, 8.0])]), dmta(g, [torch.tensor([-3.0, -4.0])])
        (tensor(0.), tensor(2.))
    """
    if not gradients or [g.shape for g in gradients] != [m.shape for m in average]:
        raise ValueError(
            f"gradients and average must have the same shapes, got {[tuple(g.shape) for g in gradients]} and "
            f"{[tuple(m.shape) for m in average]}"
        )
    wide = [widen(g) for g in gradients]
    held = [m.detach().to(g) for m, g in zip(average, wide, strict=True)]
    product = torch.stack([(g * m).sum() for g, m in zip(wide, held, strict=True)]).sum()
    return 1 - (product / _length(wide) / _length(held)).clamp(-1, 1)


def _length(vectors: list[Tensor]) -> Tensor:
    """Compute the norm of all together; a bound keeps the derivative finite where it is 0."""
    total = torch.stack([v.square().sum() for v in vectors]).sum()
    return total.clamp_min(torch.finfo(total.dtype).tiny).sqrt()


class DMTA(nn.Module):
    """Track the average and compare each gradient with it.

    R = 1 − cos(g, sg m), then m ← μ·m + (1 − μ)·g; m_0 = first g

    Source: Patil 2026, doi:10.5281/zenodo.20480620. Published code multiplies by its λ in the tracker and again in the
    composite; here R comes without, and the composite multiplies once.

    With μ = .9999 and m_0 = first g, m consists of the first gradient for thousands of steps (.9999^5000 = .61), so
    that R rewards agreement with the gradient at initialisation. ``start="zero"`` leaves that out: m_0 = 0, and m is
    along the mean of all gradients so far at first. R needs second derivatives: about one more backward pass.

    The average is kept in single precision at least, for in bfloat16 steps of 1e-4 would be lost; a gradient that is
    not finite does not enter it. In eval mode nothing is recorded.

    Args:
        momentum: μ.
        start: "first" as published, or "zero".

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> tracker, theta = DMTA(), torch.tensor([1.0], requires_grad=True)
        >>> for target in (0.0, 2.0):
        ...     loss = (theta - target).square().sum()
        ...     print(tracker(torch.autograd.grad(loss, [theta], create_graph=True)).item())
        0.0
        2.0
    """

    recorded: Tensor

    def __init__(self, momentum: float = 0.9999, *, start: Literal["first", "zero"] = "first") -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
        if start not in ("first", "zero"):
            raise ValueError(f'start must be "first" or "zero", got {start!r}')
        self.momentum = momentum
        self.start = start
        self.register_buffer("recorded", torch.zeros((), dtype=torch.long))
        self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @property
    def average(self) -> list[Tensor]:
        """m, one tensor per parameter; none before the first call."""
        held = {int(name[len(NAME) :]): tensor for name, tensor in self.named_buffers() if name.startswith(NAME)}
        return [held[place] for place in sorted(held)]  # a state may come with its keys in any order

    def forward(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """Compute R, then record the gradient.

        Args:
            gradients: One per parameter, always in the same order, with their graph. Without one R would not act;
                under ``torch.no_grad()`` any will do, to watch R.

        Returns:
            R, 0-d.

        Raises:
            ValueError: If a gradient is missing or has no graph, or shapes differ from those before.
        """
        present = [g for g in gradients if g is not None]
        if not present or len(present) != len(gradients):
            raise ValueError(
                f"{len(gradients) - len(present)} of {len(gradients)} gradients are None: pass those of parameters "
                "that take part in the loss, e.g. torch.autograd.grad(loss, parameters, create_graph=True)"
            )
        if torch.is_grad_enabled() and not any(g.requires_grad for g in present):
            raise ValueError(
                "gradients have no graph, so that the penalty could not act on the parameters: take them by "
                "torch.autograd.grad(loss, parameters, create_graph=True), or call this under torch.no_grad() to watch"
            )
        if self.recorded.device != present[0].device:
            self.to(present[0].device)
        if not self.average:
            for place, g in enumerate(present):
                self.register_buffer(f"{NAME}{place}", torch.zeros_like(widen(g.detach())))
        average, first = self.average, self.recorded == 0
        if len(average) != len(present):
            raise ValueError(f"gradients must be those of {len(average)} parameters as before, got {len(present)}")
        reference = [torch.where(first, g.detach(), m) for g, m in zip(present, average, strict=True)]
        penalty = dmta(present, reference)
        if self.training:
            self._record(present, first)
        return penalty

    @torch.no_grad()
    def _record(self, gradients: Sequence[Tensor], first: Tensor) -> None:
        finite = torch.stack([g.isfinite().all() for g in gradients]).all()
        share = torch.full((), 1 - self.momentum, dtype=torch.float64, device=first.device)
        if self.start == "first":
            share = torch.where(first, 1.0, share)
        for m, g in zip(self.average, gradients, strict=True):
            m.copy_(torch.where(finite, m + share * (g.to(m) - m), m))
        self.recorded += finite


def _make_room(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Register the buffers that a saved state has, for their shapes are not known before the first gradient."""
    own = {name for name, _ in module.named_buffers() if name.startswith(NAME)}
    saved = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix + NAME)}
    for name in own - set(saved):
        delattr(module, name)
    for name, value in saved.items():
        if name not in own or getattr(module, name).shape != value.shape:
            module.register_buffer(name, torch.zeros_like(value))
