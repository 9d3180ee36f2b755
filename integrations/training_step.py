"""A Lightning module's ``training_step`` as nothing but a loss."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


def step_loss(module: Any, batch: Any, number: int) -> Tensor:
    """Compute the loss of ``training_step``.

    Args:
        module: A Lightning module.
        batch: What it is given.
        number: Of the batch in its epoch, if the step takes it.

    Returns:
        The loss.

    Raises:
        TypeError: If there is none in what the step returns.
    """
    numbered = len(inspect.signature(module.training_step).parameters) > 1
    output = module.training_step(batch, number) if numbered else module.training_step(batch)
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"training_step must return the loss or a dict with it under 'loss' to be measured, got "
            f"{type(output).__name__}; or pass loss= to LandscapeCallback"
        )
    return loss


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Drop what a Lightning module logs, and put back what it changes in itself and in its metrics.

    Put back are the attributes of the module and of every submodule that is a metric of torchmetrics: objects, the
    contents of lists, dicts and sets, and the values of tensors. Parameters and buffers are not looked at, which the
    probe itself keeps.

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
    own = vars(module)
    kept = {name: (value, _content(value)) for name, value in own.items() if name not in _MODULE}
    own.update({name: value.clone() for name, (value, _) in kept.items() if isinstance(value, Tensor)})
    try:
        yield
    finally:
        for name in [name for name in own if name not in kept and name not in _MODULE]:
            del own[name]
        for name, (value, content) in kept.items():
            own[name] = value
            if content is not None:
                value.clear()
                (value.extend if isinstance(value, list) else value.update)(content)


_MODULE = frozenset(vars(nn.Module()))  # what every module has: parameters, buffers, submodules, hooks, its mode


def _content(value: Any) -> Any:
    return value.copy() if type(value) in {list, dict, set} else None
