"""Numerical precision for the length of a probe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def precision(device: torch.device, autocast: torch.dtype | None, tf32: bool | None) -> Iterator[None]:
    """Compute in another precision, and leave every switch as it was.

    Args:
        device: Where the model is.
        autocast: Run forward passes under ``torch.autocast`` with this dtype; None leaves what the caller has set.
        tf32: Let matrix products and convolutions of float32 on NVIDIA GPUs round their inputs to TF32's ten bits, or
            forbid it; None leaves what is set.

    Yields:
        Nothing.

    Raises:
        ValueError: If autocast does not know the dtype.

    Example:
        >>> with precision(torch.device("cpu"), torch.bfloat16, None):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    if autocast not in {None, torch.bfloat16, torch.float16}:
        raise ValueError(f"autocast must be torch.bfloat16 or torch.float16, got {autocast}")
    convolutions: Any = getattr(torch.backends.cudnn, "conv")  # noqa: B009  the stubs do not know it
    switches: tuple[Any, Any] = (torch.backends.cuda.matmul, convolutions)
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(device.type, dtype=autocast))
        if tf32 is not None:
            for switch in switches:
                stack.callback(setattr, switch, "fp32_precision", switch.fp32_precision)
                switch.fp32_precision = "tf32" if tf32 else "ieee"
        yield
