"""The step of an optimizer as a direction."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from .directions import Directions
from .parameters import ParameterChoice, Slot, left_out, movable, working_dtype
from .randomness import preserved

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def _twin(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """Copy an optimizer with its state onto other parameters, without hooks."""
    # Hooks are the user's: a scheduler that hangs in one would count the step.
    twin = object.__new__(type(optimizer))
    # A scheduler replaces step() on the instance by one that steps the original.
    own = {name: value for name, value in vars(optimizer).items() if name != "step"}
    for name, value in own.items():
        vars(twin)[name] = type(value)() if name in _HOOKS else copy.deepcopy(value, memo)
    return twin


def _next_step(optimizer: Optimizer, slots: list[Slot]) -> dict[str, Tensor]:
    """Run step() on copies of parameters, gradients and state."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if all(parameter.grad is None for parameter in parameters):
        raise ValueError(
            "no parameter of the optimizer has a gradient, so there is no next step: call update_direction between "
            "backward() and zero_grad(), or pass step='last' for the step that the optimizer took last"
        )
    copies: dict[int, nn.Parameter] = {}
    for parameter in parameters:
        copied = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
        copied.grad = None if parameter.grad is None else parameter.grad.detach().clone()
        copies[id(parameter)] = copied
    name = type(optimizer).__name__
    try:
        twin = _twin(optimizer, dict(copies))
        step = type(twin).step
        if getattr(step, "hooked", False):  # without the wrapper that calls hooks registered for all optimizers
            step = step.__wrapped__  # type: ignore[attr-defined]  # functools.wraps has set it
        with preserved(), torch.no_grad():
            step(twin)
    except TypeError as error:
        if "closure" in str(error):
            raise ValueError(f"{name}.step needs a closure, so its next step is not known beforehand") from error
        raise
    return {
        slot.canonical: (
            copies[id(slot.parameter)].detach().to(working_dtype(slot.parameter))
            - slot.parameter.detach().to(working_dtype(slot.parameter))
        )[None]
        for slot in slots
    }


def _adam(p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Recover Δθ of Adam and AdamW: −η·m̂ / (√v̂ + ε), and for the decoupled decay λ of AdamW −η·λ·θ_before."""
    beta1, beta2 = (float(beta) for beta in group["betas"])
    t, rate = float(state["step"]), float(group["lr"])
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    mean = state["exp_avg"].to(p.dtype) / (1 - beta1**t)
    root = (second.to(p.dtype) / (1 - beta2**t)).sqrt() + group["eps"]
    step = -rate * mean / root
    kept = 1 - rate * group["weight_decay"] if group.get("decoupled_weight_decay") else 1.0
    # With maximize the moments are those of −g. θ_after = kept·θ_before + step, and the model stands at θ_after.
    moved: Tensor = step if kept == 1.0 else p - (p - step) / kept
    return moved


def _momentum(p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Recover Δθ of SGD with momentum: −η·b."""
    moved: Tensor = -float(group["lr"]) * state["momentum_buffer"].to(p.dtype)
    return moved


def _last_step(optimizer: Optimizer, slots: list[Slot]) -> dict[str, Tensor]:
    name = type(optimizer).__name__
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    tensors = {}
    for slot in slots:
        group, state = groups[id(slot.parameter)], optimizer.state.get(slot.parameter, {})
        p = slot.parameter.detach().to(working_dtype(slot.parameter))
        if isinstance(optimizer, Adam):
            known, formula = "exp_avg" in state, _adam
        elif isinstance(optimizer, SGD) and group["momentum"] != 0 and not group["nesterov"]:
            known, formula = state.get("momentum_buffer") is not None, _momentum
        else:
            raise ValueError(
                f"step='last' reads the step from the state, which is known for Adam, AdamW and SGD with momentum, not "
                f"for {name}{' without momentum or with Nesterov' if isinstance(optimizer, SGD) else ''}; call "
                "update_direction between backward() and zero_grad() with step='next'"
            )
        # A parameter without state has never had a gradient, and did not move.
        tensors[slot.canonical] = (formula(p, dict(state), group) if known else torch.zeros_like(p))[None]
    return tensors


def update_direction(
    optimizer: Optimizer,
    model: nn.Module,
    *,
    step: Literal["next", "last"] = "next",
    parameters: ParameterChoice = None,
) -> Directions:
    r"""Take the step of an optimizer as a direction.

    d = θ_after − θ_before: the coordinate counts steps. For "next" the weights stand at θ_before, so that the loss at
    coordinate 1 is that after the step; for "last" they stand at θ_after, and coordinate −1 is where they came from.

    - "next": the step that ``optimizer.step()`` would take with the gradients that are now in ``.grad``. It is run on
      copies of parameters, gradients and state, so any optimizer will do; neither the user's optimizer nor its hooks
      see it.
    - "last": the step that the state remembers, without any gradient. Adam, AdamW and AMSGrad: −η·m̂/(√v̂ + ε) with
      m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ) (Kingma & Ba 2015, algorithm 1, arXiv:1412.6980), and −η·λ·θ_before for
      decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, arXiv:1711.05101). SGD with momentum: −η·b. It is
      what was done last if the rates are still those of that step.

    With a gradient scaler, unscale the gradients first.

    Args:
        optimizer: Any torch optimizer; for "last" Adam, AdamW or SGD with momentum.
        model: The model whose parameters it holds.
        step: Which step.
        parameters: Restricts what moves; see :func:`~lrscape.landscape.parameters.movable`.

    Returns:
        One direction, not normalised.

    Raises:
        TypeError: If ``optimizer`` is no torch optimizer.
        ValueError: If there are no gradients or no state to tell the step, the optimizer needs a closure or holds no
            parameter of the model, or the step is zero or not finite.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        >>> model(torch.tensor([3.0, 4.0])).sum().backward()
        >>> update_direction(optimizer, model).norms().round(5).tolist()
        [2.5]
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if step not in {"next", "last"}:
        raise ValueError(f"step must be 'next' or 'last', got {step!r}")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    slots = [slot for slot in movable(model, parameters) if id(slot.parameter) in held]
    if not slots:
        raise ValueError(
            f"{type(optimizer).__name__} holds no parameter of this {type(model).__name__} that moves; pass the model "
            "that the optimizer was made for"
        )
    tensors = (_next_step if step == "next" else _last_step)(optimizer, slots)
    details = {"optimizer": type(optimizer).__name__, "step": step}
    made = Directions(tensors, "update", details, left_out(model, slots))
    length = float(made.norms()[0])
    if not 0 < length < float("inf"):
        reason = "it has not taken any yet" if step == "last" and length == 0 else "its gradients or rates are so"
        raise ValueError(f"the {step} step of {type(optimizer).__name__} has length {length}: {reason}")
    return made
