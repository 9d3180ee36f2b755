"""Batches sent to an accelerator while the one before is still being worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def placed(tensor: Tensor, device: torch.device, *, channels_last: bool = False) -> Tensor:
    """Move a tensor of a batch to where the model is.

    Args:
        tensor: The tensor.
        device: Where to.
        channels_last: Lay images, 4-D floating-point tensors, out with their channels innermost.

    Returns:
        The tensor itself where nothing needs to change.

    Example:
        >>> placed(torch.ones(1, 3, 2, 2), torch.device("cpu"), channels_last=True).stride()
        (12, 1, 6, 3)
    """
    images = channels_last and tensor.dim() == 4 and tensor.is_floating_point()
    layout = torch.channels_last if images else torch.preserve_format
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()  # or the copy would wait for all work before it
    return tensor.to(device, non_blocking=True, memory_format=layout)


def place(batch: Any, device: torch.device, *, channels_last: bool = False) -> Any:
    """Move the tensors of a batch to where the model is.

    Args:
        batch: Any structure.
        device: Where to.
        channels_last: See :func:`placed`.

    Returns:
        The same structure.
    """
    return pytree.tree_map_only(Tensor, partial(placed, device=device, channels_last=channels_last), batch)


def prefetched(loader: Iterable[Any], device: torch.device, *, channels_last: bool = False) -> Iterator[Any]:
    """Read batches, on an NVIDIA GPU one ahead: the next one is pinned and copied on a stream of its own meanwhile.

    Args:
        loader: Of batches of any structure.
        device: Where to.
        channels_last: See :func:`placed`.

    Yields:
        Batches on the device, in order.
    """
    if device.type != "cuda":
        for batch in loader:
            yield place(batch, device, channels_last=channels_last)
        return
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it
    waiting: tuple[Any, torch.cuda.Event] | None = None
    for batch in loader:
        with torch.cuda.stream(stream):
            sent = place(batch, device, channels_last=channels_last)
            following = sent, stream.record_event()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = following
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(batch: Any, copied: torch.cuda.Event) -> Any:
    current = torch.cuda.current_stream()
    current.wait_event(copied)
    for tensor in pytree.tree_leaves(batch):
        if isinstance(tensor, Tensor):
            tensor.record_stream(current)  # its memory must not go to the next batch while this stream reads it
    return batch
