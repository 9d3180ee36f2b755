"""The user's autocast and inference mode during a probe that does more than forward passes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from .closure import Closure
from .objective import Objective

P = ParamSpec("P")
T = TypeVar("T")


def _active() -> list[tuple[str, torch.dtype]]:
    """List the kinds of device for which autocast is on now, with its dtype."""
    accelerator = torch.accelerator.current_accelerator()
    kinds = ["cpu", *([] if accelerator is None else [accelerator.type])]
    return [(kind, torch.get_autocast_dtype(kind)) for kind in kinds if torch.is_autocast_enabled(kind)]


@contextmanager
def noted_autocast(model: nn.Module) -> Iterator[list[float]]:
    """Note how coarsely autocast lets a model compute, wherever it is entered: around the model or within.

    Args:
        model: Whose modules' forward passes are looked at.

    Yields:
        A list whose only number, 0 at first, becomes the largest machine epsilon that was seen.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> with noted_autocast(model) as seen, torch.autocast("cpu", torch.bfloat16):
        ...     _ = model(torch.ones(1))
        >>> seen
        [0.0078125]
    """
    seen = [0.0]

    def note(*_: object) -> None:
        seen[0] = max([*seen, *(torch.finfo(dtype).eps for _, dtype in _active())])

    hooks = [module.register_forward_pre_hook(note) for module in model.modules()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def without_autocast() -> Iterator[None]:
    """Compute as written: a backward pass or an inner product under autocast would be rounded to half precision.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        for kind, _ in _active():
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def without_inference() -> Iterator[None]:
    """Leave inference mode, in which no graph is recorded whatever else is asked for.

    Yields:
        Nothing.

    Example:
        >>> with torch.inference_mode(), without_inference(), torch.enable_grad():
        ...     torch.nn.Linear(1, 1)(torch.ones(1).clone()).requires_grad
        True
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False):
        yield


def keeps_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function run under the autocast that is on now, whatever is on when it is called.

    Args:
        function: A forward pass.

    Returns:
        The function itself where autocast is off.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product = keeps_autocast(lambda: torch.ones(2, 2) @ torch.ones(2, 2))
        >>> product().dtype
        torch.bfloat16
    """
    active, cached = _active(), torch.is_autocast_cache_enabled()
    if not active:
        return function

    @wraps(function)
    def under_autocast(*args: P.args, **kwargs: P.kwargs) -> T:
        with ExitStack() as stack:
            for kind, dtype in active:
                stack.enter_context(torch.autocast(kind, dtype, cache_enabled=cached))
            return function(*args, **kwargs)

    return under_autocast


def loss_as_called(objective: Objective | Closure) -> Objective | Closure:
    """Let a loss be computed under the autocast that is on now.

    Args:
        objective: An Objective or a closure.

    Returns:
        One of the same kind.
    """
    if not isinstance(objective, Objective):
        return keeps_autocast(objective)
    if not _active():
        return objective
    made = copy.copy(objective)
    made.loss_fn = keeps_autocast(objective.loss_fn)
    return made
