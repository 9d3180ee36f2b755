"""Weights of tasks by what each can still gain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .head_loss import widen


def nger_weights(
    losses: Tensor,
    least: Tensor,
    kappa: Tensor | None = None,
    *,
    gamma: float = 1.0,
    epsilon: float = 1e-6,
    floor: float = 0.1,
) -> Tensor:
    """Weigh tasks by their excess over the least loss they have had, and against the scale of their gradients.

    w = (1 − φ)·softmax_t( log(max(ℓ_t − min_t, 0) + ε) − γ·log(κ_t + ε) ) + φ/T

    Source: NGER, Patil 2026, doi:10.5281/zenodo.20480620, after NTKMTL (arXiv:2510.18258). Published is φ = 0, which
    starves any task that improves: at a new minimum its excess is 0, and next to an excess of .05 it gets a weight of
    2e-5.

    Args:
        losses: One for each task, (T,).
        least: The least recent loss of each, (T,).
        kappa: Scale of each task's kernel, (T,), e.g. of :func:`task_scales`; alike for all if None.
        gamma: How much κ matters.
        epsilon: Added before logarithms.
        floor: φ in [0, 1], the share that is spread evenly.

    Returns:
        Weights, (T,), at least φ/T each, that add up to 1; without a graph.

    Raises:
        ValueError: If shapes differ or a number is out of range.

    Example:
        >>> nger_weights(torch.tensor([0.75, 0.5]), torch.tensor([0.5, 0.25]))
        tensor([0.5000, 0.5000])
        >>> nger_weights(torch.tensor([0.55, 0.5]), torch.tensor([0.5, 0.5]), floor=0.0)
        tensor([9.9998e-01, 1.9999e-05])
    """
    _check(gamma, epsilon, floor)
    if losses.dim() != 1 or not len(losses):
        raise ValueError(f"losses must hold one number per task, (T,), got shape {tuple(losses.shape)}")
    for name, given in (("least", least), ("kappa", kappa)):
        if given is not None and given.shape != losses.shape:
            raise ValueError(f"{name} must have the shape of losses, {tuple(losses.shape)}, got {tuple(given.shape)}")
    now = widen(losses.detach())
    scores = ((now - least.to(now)).clamp_min(0) + epsilon).log()
    if kappa is not None:
        scores = scores - gamma * (kappa.detach().to(now) + epsilon).log()
    return (1 - floor) * scores.softmax(0) + floor / len(losses)


def task_scales(losses: Sequence[Tensor], parameters: Iterable[Tensor]) -> Tensor:
    """Compute κ_t = |∇ℓ_t|² over the parameters that the tasks share.

    The squared gradient is what the task's neural tangent kernel makes of the direction it descends.

    Args:
        losses: One 0-d tensor for each task, with their graph, which is kept. Not stacked: there a task without a
            gradient would look like one with a gradient of 0.
        parameters: Those that all tasks share. Their ``.grad`` is left alone.

    Returns:
        κ, (T,), without a graph, in single precision at least.

    Raises:
        ValueError: If a loss does not depend on any of the parameters.
        TypeError: If losses are stacked.

    Example:
        >>> theta = torch.tensor(2.0, requires_grad=True)
        >>> task_scales([theta, theta**2], [theta])
        tensor([ 1., 16.])
    """
    thetas = list(parameters)
    if not isinstance(losses, list | tuple):
        raise TypeError(f"losses must be a list of 0-d tensors, one per task, not stacked, got {type(losses).__name__}")
    if not losses or not thetas:
        raise ValueError(f"losses and parameters are needed, got {len(losses)} and {len(thetas)}")
    scales = []
    for number, loss in enumerate(losses):
        used = []
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, thetas, retain_graph=True, allow_unused=True)
            used = [g for g in gradients if g is not None]
        if not used:
            raise ValueError(f"task {number} has no gradient in the parameters: pass those that all tasks share")
        scales.append(torch.stack([widen(g).square().sum() for g in used]).sum())
    return torch.stack(scales)


def _check(gamma: float, epsilon: float, floor: float) -> None:
    if not gamma >= 0:
        raise ValueError(f"gamma must be at least 0, got {gamma!r}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon!r}")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be in [0, 1], got {floor!r}")


class NGER(nn.Module):
    """Combine the losses of several tasks, weighted by what each can still gain.

    R = Σ_t w_t·ℓ_t with the weights of :func:`nger_weights` and min_t over the latest ``window`` losses, this one
    included.

    Source: Patil 2026, doi:10.5281/zenodo.20480620; published is ``floor=0``. Between processes, average the losses
    before, so that all take the same weights. In eval mode nothing is recorded.

    Args:
        tasks: T.
        window: How many losses of each task to remember.
        gamma: How much κ matters.
        epsilon: Added before logarithms.
        floor: Share of the weight that is spread evenly, in [0, 1].

    Attributes:
        weights: Those of the latest call, (T,).

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> nger = NGER(2, floor=0.0)
        >>> nger(torch.tensor([1.0, 3.0]))  # no excess yet: even weights
        tensor(2.)
        >>> nger(torch.tensor([2.0, 4.0]), kappa=torch.tensor([1.0, 3.0]))
        tensor(2.5000)
    """

    losses: Tensor
    seen: Tensor
    weights: Tensor

    def __init__(
        self,
        tasks: int,
        *,
        window: int = 200,
        gamma: float = 1.0,
        epsilon: float = 1e-6,
        floor: float = 0.1,
    ) -> None:
        super().__init__()
        _check(gamma, epsilon, floor)
        for name, value in (("tasks", tasks), ("window", window)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.gamma = gamma
        self.epsilon = epsilon
        self.floor = floor
        self.register_buffer("losses", torch.full((window, tasks), torch.inf))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("weights", torch.full((tasks,), 1 / tasks))

    def forward(self, losses: Tensor, kappa: Tensor | None = None) -> Tensor:
        """Record the losses and combine them.

        Args:
            losses: One for each task, (T,); gradients flow into them, not into the weights.
            kappa: Scale of each task's kernel, (T,).

        Returns:
            R, 0-d.

        Raises:
            ValueError: If the number of losses is not T.
        """
        if losses.shape != self.weights.shape:
            raise ValueError(f"losses must be those of {len(self.weights)} tasks, got shape {tuple(losses.shape)}")
        if self.losses.device != losses.device:
            self.to(losses.device)
        now = losses.detach().to(self.losses)
        finite = now.where(now.isfinite(), torch.inf)  # one loss that is not must not stay for a whole window
        if self.training:
            self.losses.index_copy_(0, (self.seen % len(self.losses)).reshape(1), finite.unsqueeze(0))
            self.seen += 1
        least = torch.minimum(self.losses.amin(0), finite)
        weights = nger_weights(losses, least, kappa, gamma=self.gamma, epsilon=self.epsilon, floor=self.floor)
        self.weights.copy_(weights)
        return (weights * losses).sum()
