"""DistributedDataParallel during a probe: no rank waits for another, and no gradient is about to be reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

_probing: ContextVar[bool] = ContextVar("probing", default=False)  # in this thread
_forward: Callable[..., Any] = DistributedDataParallel.forward
_lock = Lock()
_probes = 0  # in all threads


def _unsynchronised_forward(self: DistributedDataParallel, *inputs: Any, **kwargs: Any) -> Any:
    """Run the wrapper's forward pass as under ``no_sync``, and without broadcasting buffers."""
    if not _probing.get():
        return _forward(self, *inputs, **kwargs)
    kept = self.require_backward_grad_sync, self.require_forward_param_sync
    self.require_backward_grad_sync = self.require_forward_param_sync = False
    try:
        return _forward(self, *inputs, **kwargs)
    finally:
        self.require_backward_grad_sync, self.require_forward_param_sync = kept


def _count(change: int) -> None:
    global _probes
    with _lock:
        _probes += change
        # One and the same function each time, or torch.compile would compile a wrapped model anew at each probe.
        used = _unsynchronised_forward if _probes else _forward
        setattr(DistributedDataParallel, "forward", used)  # noqa: B010  an assignment is no type that mypy likes


@contextmanager
def unsynchronised() -> Iterator[None]:
    """Let every DistributedDataParallel whose forward pass runs inside only pass its input on.

    Otherwise it would broadcast buffers, so that ranks with different numbers of forward passes wait for each other for
    ever; it would prepare for a backward pass that never comes, and refuse the next training step; and a forward pass
    without gradients would keep it from broadcasting buffers the next time. A closure may call a wrapper that nobody
    else knows of, so it is the class that changes, for this thread and meanwhile. Afterwards it is as it was.

    Yields:
        Nothing.
    """
    if not (dist.is_available() and dist.is_initialized()):
        yield
        return
    token = _probing.set(True)
    _count(1)
    try:
        yield
    finally:
        _count(-1)
        _probing.reset(token)
