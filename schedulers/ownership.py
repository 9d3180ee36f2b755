"""Whether an optimizer trains the model whose landscape steers it."""

from __future__ import annotations

import warnings

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from ..landscape.shards import resharded


def warn_of_strangers(optimizer: object, model: nn.Module) -> None:
    """Warn where an optimizer holds parameters that are not the model's: what is measured is not what is trained.

    It happens when the model was copied, loaded anew or sharded after the optimizer was made. An optimizer that holds
    some of the model's parameters only (adapters, one of several optimizers) is all right.

    Args:
        optimizer: What a scheduler was given.
        model: Likewise.
    """
    if not isinstance(optimizer, Optimizer):
        return  # the base class says so
    with resharded(model):
        own = {id(parameter) for parameter in model.parameters()}
    # Parameters of lazy layers have no size yet, of which a later check speaks.
    held = [p for group in optimizer.param_groups for p in group["params"] if is_lazy(p) or p.numel() > 0]
    strangers = sum(id(parameter) not in own for parameter in held)
    if not strangers:
        return
    which = "none" if strangers == len(held) else f"only {len(held) - strangers}"
    warnings.warn(
        f"{which} of the {len(held)} parameters of {type(optimizer).__name__} belong to the {type(model).__name__} "
        "that is probed, so the rates would follow a landscape other than the one that is trained in; make the "
        "optimizer after the model is complete (copied, wrapped, sharded), or pass a module that holds all of its "
        "parameters",
        UserWarning,
        stacklevel=4,
    )
