"""One command run by several processes, as torchrun starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int:
    """Find out which of the processes this is, without importing torch.

    Returns:
        The rank that torchrun gave it; 0 for a process of its own.
    """
    return int(os.environ["RANK"]) if all(name in os.environ for name in _NEEDED) else 0


def told_elsewhere(error: BaseException) -> bool:
    """Tell whether another process failed first, which then says why.

    Args:
        error: This process's.

    Returns:
        Whether it only says that another stopped.
    """
    ranks = sys.modules.get(f"{__package__.rpartition('.')[0]}.landscape.ranks")
    return ranks is not None and isinstance(error, ranks.OtherRankFailedError)


@contextmanager
def together(device: str) -> Iterator[bool]:
    """Join the other processes, if there are any.

    Args:
        device: What ``--device`` says.

    Yields:
        Whether this is the process that writes files and talks.
    """
    if any(name not in os.environ for name in _NEEDED) or os.environ["WORLD_SIZE"] == "1":
        yield True
        return
    import torch
    import torch.distributed as dist

    accelerated = device != "cpu" and torch.cuda.is_available()
    if accelerated:
        torch.cuda.set_device(local_device())
    joined = not dist.is_initialized()
    if joined:
        dist.init_process_group("cpu:gloo,cuda:nccl" if accelerated else "gloo")
    try:
        yield dist.get_rank() == 0
    finally:
        if joined:
            dist.destroy_process_group()


def local_device() -> int:
    """Choose the GPU of this process.

    Returns:
        The local rank, going round if there are more processes than GPUs.
    """
    import torch

    return int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count())
