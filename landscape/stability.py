"""How sharp a loss an optimizer can stand at its rate."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import SGD, Adagrad, Adamax, NAdam, Optimizer, RAdam, RMSprop

ADAM_KEYS = {"betas", "eps"}


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """Find the optimizer in wrappers that have no hooks of their own, such as what Accelerate prepares.

    Args:
        optimizer: It, or a wrapper that holds it as ``optimizer``.

    Returns:
        The optimizer whose steps can be counted.
    """
    while not hasattr(optimizer, "_optimizer_step_post_hooks"):
        held = vars(optimizer).get("optimizer")
        if not isinstance(held, Optimizer):
            break
        optimizer = held
    return optimizer


def is_adam(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer divides an average of gradients by the root of an average of their squares.

    Args:
        optimizer: Any.

    Returns:
        Whether its groups have betas and eps, and its state, if there is any yet, a second moment. RAdam is none of
        them, since it changes its rule on the way, nor are schedule-free optimizers, which average no gradients.
    """
    groups = optimizer.param_groups
    if isinstance(optimizer, RAdam) or any("train_mode" in group or not set(group) >= ADAM_KEYS for group in groups):
        return False
    states = [state for state in optimizer.state.values() if state]
    return all("exp_avg_sq" in state or "exp_inf" in state for state in states)


def check_optimizer(optimizer: object) -> Optimizer:
    """Reject what has no known edge.

    Args:
        optimizer: What the user passed.

    Returns:
        The same, without wrappers.

    Raises:
        TypeError: If it is no optimizer.
        ValueError: If its rule is not known, or it maximises.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    optimizer = unwrapped(optimizer)
    if not (isinstance(optimizer, SGD | RMSprop | Adagrad) or is_adam(optimizer)):
        raise ValueError(
            f"optimizer must be of a kind whose edge is known (SGD, Adam, AdamW, NAdam, Adamax, RMSprop, Adagrad), got "
            f"{type(optimizer).__name__}"
        )
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise ValueError("optimizer must minimise, but maximize=True; minimise the negative loss instead")
    return optimizer


def _factor(optimizer: Optimizer, group: dict[str, Any]) -> float:
    if isinstance(optimizer, SGD):
        beta = float(group["momentum"])
        if group["nesterov"]:
            return (2 + 2 * beta) / (1 + 2 * beta)
        return (2 + 2 * beta) / (1 - float(group["dampening"]))
    if isinstance(optimizer, RMSprop):
        return 2 + 2 * float(group["momentum"])
    if isinstance(optimizer, Adagrad):
        return 2.0
    beta = float(group["betas"][0])
    factor = (2 + 2 * beta) / (1 - beta)
    return factor / (1 + 2 * beta) if isinstance(optimizer, NAdam) else factor


def stability_factor(optimizer: Optimizer) -> float:
    r"""Compute c, so that an optimizer with rate η is stable on a quadratic of preconditioned sharpness below c/η.

    Gradient descent: 2. Heavy ball: 2 + 2β, over 1 − τ with dampening τ. Nesterov's momentum: (2 + 2β)/(1 + 2β). Adam,
    AdamW, Adamax, whose first moment is an average: (2 + 2β₁)/(1 − β₁), which is 38 for β₁ = .9 (Cohen et al. 2021,
    arXiv:2103.00065, appendix A; Cohen et al. 2022, arXiv:2207.14484, section 3); NAdam that over 1 + 2β₁. RMSprop as
    gradient descent or heavy ball, Adagrad as gradient descent. Decoupled weight decay, of order η, is left out.

    Args:
        optimizer: Of one of these kinds.

    Returns:
        c; the smallest over the groups.

    Raises:
        TypeError: If it is no optimizer.
        ValueError: If its rule is not known, or it maximises.

    Example:
        >>> import torch
        >>> round(stability_factor(torch.optim.AdamW([torch.zeros(1)], lr=1e-3)), 6)
        38.0
    """
    optimizer = check_optimizer(optimizer)
    return min(_factor(optimizer, group) for group in optimizer.param_groups)


def denominator(optimizer: Optimizer, group: dict[str, Any], state: dict[str, Any], gradient: Tensor) -> Tensor | None:
    r"""Compute what an optimizer divides a parameter's gradient by, element by element.

    Adam and kin: √v̂ + ε with v̂ = v/(1 − β₂ᵗ), the largest v so far with AMSGrad; Adamax: its running maximum, with ε;
    RMSprop: √v + ε, centred if it is; Adagrad: √Σg² + ε, times 1 + (t − 1)·decay. Before the first step it is what the
    first step will make of the present gradient.

    Args:
        optimizer: Of a known kind.
        group: The parameter's group.
        state: The parameter's state; empty before the first step.
        gradient: Shaped like the parameter, in the precision of the computation.

    Returns:
        Likewise; None for 1.
    """
    if isinstance(optimizer, SGD):
        return None
    eps = float(group["eps"])
    dtype = gradient.dtype
    if isinstance(optimizer, Adagrad):
        taken = max(float(state.get("step", 0)), 1.0)
        total = state["sum"].to(dtype)
        total = total if float(state["step"]) > 0 else total + gradient.square()
        slower: Tensor = (total.sqrt() + eps) * (1 + (taken - 1) * float(group["lr_decay"]))
        return slower
    if isinstance(optimizer, RMSprop):
        alpha = float(group["alpha"])
        if not state:
            mean = (1 - alpha) * gradient if group["centered"] else gradient * 0
            return ((1 - alpha) * gradient.square() - mean.square()).clamp(min=0).sqrt() + eps
        second = state["square_avg"].to(dtype)
        if group["centered"]:
            second = (second - state["grad_avg"].to(dtype).square()).clamp(min=0)
        uncentred: Tensor = second.sqrt() + eps
        return uncentred
    if not state:
        return gradient.abs() + eps
    if isinstance(optimizer, Adamax):
        largest: Tensor = state["exp_inf"].to(dtype)
        return largest
    second = state["max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"].to(dtype)
    unbiased = second / (1 - float(group["betas"][1]) ** float(state["step"]))
    root: Tensor = unbiased.sqrt() + eps
    return root
