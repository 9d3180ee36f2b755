"""A Lightning module's ``training_step`` as nothing but a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from ..landscape.contents import attributes, nested

DEPTH = 3  # levels of containers in attributes that are put back


class SkippedBatch(Exception):  # noqa: N818  what the user's code may ask for, not an error
    """``training_step`` returned None, with which Lightning lets it skip a batch."""


def step_loss(module: Any, batch: Any, number: int) -> Tensor:
    """Compute the loss of ``training_step``.

    Args:
        module: A Lightning module.
        batch: What it is given.
        number: Of the batch in its epoch, if the step takes it.

    Returns:
        The loss.

    Raises:
        SkippedBatch: If the step returns None.
        TypeError: If there is no loss in what the step returns.
    """
    output = module.training_step(batch, number) if _numbered(module.training_step) else module.training_step(batch)
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        kind = SkippedBatch if output is None else TypeError
        raise kind(
            f"training_step must return the loss or a dict with it under 'loss' to be measured, got "
            f"{type(output).__name__}; or pass loss= to LandscapeCallback"
        )
    return loss


def _numbered(step: Callable[..., Any]) -> bool:
    """Tell whether Lightning gives a step the batch's number: it looks at what can be passed by position."""
    parameters = inspect.signature(step).parameters.values()
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    return len(positional) > 1 or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Drop what a Lightning module logs, and put back what it changes in itself and in its metrics.

    Put back are the attributes of the module and of every submodule that is a metric of torchmetrics: objects, the
    contents of lists, dicts, sets and deques, also nested, and the values of tensors. Parameters and buffers are not
    looked at, which the probe itself keeps.

    Args:
        module: The module.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        stack.enter_context(_kept_attributes(module))
        for part in module.modules():
            if part is not module and _is_metric(part):
                stack.enter_context(_kept_attributes(part))
        for name in ("log", "log_dict"):
            vars(module)[name] = _ignore
        yield


def _ignore(*_: object, **__: object) -> None:
    """Log nothing."""


def _is_metric(module: nn.Module) -> bool:
    return any(kind.__module__.split(".")[0] == "torchmetrics" for kind in type(module).__mro__)


@contextmanager
def _kept_attributes(module: nn.Module) -> Iterator[None]:
    # Tensors are replaced by copies meanwhile, since metrics add to their states in place.
    own = attributes(module)
    kept = [own, *nested(own.values, DEPTH)]
    vars(module).update({name: value.clone() for name, value in own.items() if isinstance(value, Tensor)})
    try:
        yield
    finally:
        for contents in kept:
            contents.restore()
