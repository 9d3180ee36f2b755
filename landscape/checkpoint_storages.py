"""What torch.load leaves to its caller: the memory that an archive takes, and tensors that reach beyond their data."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .archives import check_size

_PACKED = {torch.quint4x2: 2, torch.quint2x4: 4}  # numbers in a byte


def check_archive(path: Path) -> None:
    """Reject an archive of ``torch.save`` that is small on disk and huge in memory.

    Args:
        path: The file.

    Raises:
        ValueError: If it is such an archive.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        check_size(archive, os.fstat(file.fileno()).st_size)


def check_extents(content: Any) -> None:
    """Reject tensors whose strides lead out of their storage; reading them would read the memory of this process.

    torch before 2.13 does not look at quantised ones (pytorch issue 184652).

    Args:
        content: What was loaded: tensors in dicts, lists and tuples.

    Raises:
        ValueError: If there is one.

    Example:
        >>> check_extents({"weight": torch.ones(2, 3).T})
    """
    todo, seen = [content], set[int]()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.layout == torch.strided and value.device.type == "cpu" and not _inside(value):
                raise ValueError(f"a tensor of shape {tuple(value.shape)} reaches beyond its data")
        elif isinstance(value, Mapping):
            todo.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            todo.extend(value)


def _inside(tensor: Tensor) -> bool:
    if tensor.numel() == 0:
        return True
    reaches = [(size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)]
    first = tensor.storage_offset() + sum(min(0, reach) for reach in reaches)
    last = tensor.storage_offset() + sum(max(0, reach) for reach in reaches)
    room = tensor.untyped_storage().nbytes() // tensor.element_size() * _PACKED.get(tensor.dtype, 1)
    return first >= 0 and last < room
