"""Copies of parameters that take no memory on their device."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator

import torch
from torch import Tensor

from .boxes import boxes, spans

_ALIGNED = 64  # bytes


def _mapped(size: int) -> mmap.mmap:
    """Map a file that has no name, so that nothing is left of it however the process ends."""
    with tempfile.TemporaryFile(prefix="lrscape-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a crash later
            else:
                file.truncate(size)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"cannot keep {size / 2**30:.1f} GiB of parameters in {tempfile.gettempdir()} ({error.strerror}); "
                "set TMPDIR to a folder with that much room, or use memory='normal'",
            ) from error
        return mmap.mmap(file.fileno(), size)


class HostBackup:
    """The values of tensors, in a file mapped into memory for tensors on the CPU, in host memory for others.

    Args:
        tensors: Any strides; they are only read.

    Raises:
        OSError: If there is no room for the file.

    Example:
        >>> tensor = torch.arange(6.0)
        >>> backup = HostBackup([tensor])
        >>> _ = tensor.zero_()
        >>> backup.restore(0)
        >>> tensor
        tensor([0., 1., 2., 3., 4., 5.])
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = [tensor.view(1) if tensor.dim() == 0 else tensor for tensor in tensors]
        self._offsets: list[int] = []
        size = 0
        for tensor in self._tensors:
            self._offsets.append(size)
            if tensor.device.type == "cpu":
                size += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        self._file = _mapped(size) if size else None
        self._host = [
            None if t.device.type == "cpu" else torch.empty(t.numel(), dtype=t.dtype, device="cpu")
            for t in self._tensors
        ]
        for i in range(len(self._tensors)):
            for kept, piece in self._pieces(i):
                kept.copy_(piece)

    def restore(self, i: int) -> None:
        """Write a tensor's values back.

        Args:
            i: Number of the tensor.
        """
        for kept, piece in self._pieces(i):
            piece.copy_(kept)

    def restore_all(self) -> None:
        """Write all values back."""
        for i in range(len(self._tensors)):
            self.restore(i)

    def _pieces(self, i: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through a tensor block by block: its backup and itself."""
        tensor = self._tensors[i]
        shape = tuple(tensor.shape)
        if tensor.is_contiguous():
            tensor, shape = tensor.view(-1), (tensor.numel(),)
        for start, stop in spans(tensor.numel()):
            block, offset = self._block(i, start, stop), 0
            for box in boxes(shape, start, stop):
                piece = tensor[box]
                yield block[offset : offset + piece.numel()].view(piece.shape), piece
                offset += piece.numel()

    def _block(self, i: int, start: int, stop: int) -> Tensor:
        host, tensor = self._host[i], self._tensors[i]
        if host is not None:
            return host[start:stop]
        assert self._file is not None
        offset = self._offsets[i] + start * tensor.element_size()
        return torch.frombuffer(self._file, dtype=tensor.dtype, count=stop - start, offset=offset)
