"""Train and eval modes of a model's modules during a probe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

BatchNorm = Literal["eval", "batch", "recalibrate"]
_FLAGS = ("training", "track_running_stats", "momentum")


def check_batch_norm(policy: str) -> None:
    """Reject an unknown BatchNorm policy.

    Args:
        policy: What the user passed.

    Raises:
        ValueError: If it is none of the three.
    """
    if policy not in get_args(BatchNorm):
        raise ValueError(f"batch_norm must be one of {', '.join(get_args(BatchNorm))}, got {policy!r}")


def _norms(model: nn.Module) -> list[_NormBase]:
    return [module for module in model.modules() if isinstance(module, _NormBase)]


@contextmanager
def probe_modes(model: nn.Module, batch_norm: BatchNorm = "eval", dropout: bool = False) -> Iterator[None]:
    """Put every module in the mode a probe needs, and each back into its own.

    Flags are set directly: ``train()`` and ``eval()`` are often overridden (to keep layers frozen, say), and one
    call for the whole model would not bring back mixed modes.

    Args:
        model: Any module.
        batch_norm: "eval" uses running statistics; "batch" the statistics of the batch, without updating anything;
            "recalibrate" is "eval" here, with statistics re-estimated by :func:`recalibrated`.
        dropout: Keep all modules but the normalisations in train mode.

    Yields:
        Nothing.
    """
    modules = list(model.modules())
    kept = [(module, [(flag, vars(module)[flag]) for flag in _FLAGS if flag in vars(module)]) for module in modules]
    try:
        for module in modules:
            module.training = dropout
        for norm in _norms(model):
            norm.training = batch_norm == "batch"
            if batch_norm == "batch":
                # Without tracking, the layer normalises by the batch and hands no buffers to the kernel to update.
                norm.track_running_stats = False
        yield
    finally:
        for module, flags in kept:
            for flag, value in flags:
                setattr(module, flag, value)


def recalibrated(model: nn.Module, forward: Callable[[], None]) -> None:
    """Re-estimate the running statistics of all normalisation layers as plain averages over one pass.

    The buffers change; whoever calls this puts them back.

    Args:
        model: A model in the modes of :func:`probe_modes`.
        forward: Runs the pass.
    """
    norms = [norm for norm in _norms(model) if norm.track_running_stats and norm.running_mean is not None]
    kept = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.training = True
            norm.momentum = None  # cumulative average
        forward()
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.training = False
            norm.momentum = momentum
