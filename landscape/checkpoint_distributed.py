"""Folders of torch.distributed.checkpoint, read without executing anything in them."""

from __future__ import annotations

import io
import pathlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from .archives import FREE, RATIO
from .checkpoint_text import shortened

_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "collections": {"OrderedDict"},
}  # fmt: skip


class _MetadataUnpickler(pickle.Unpickler):
    """Reads the pickled ``.metadata`` of torch.distributed.checkpoint, looking up nothing but torch's own records."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "pathlib" and name.endswith("Path"):  # where it was saved, on whatever system
            return pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
        if name in _ALLOWED.get(module, ()) or (module == "torch" and isinstance(getattr(torch, name, 0), torch.dtype)):
            return super().find_class(module, name)
        raise ValueError(f"it refers to {module}.{name}, which is no part of a checkpoint and could run any code")


def read_distributed(path: Path) -> dict[str, Any]:
    """Read the tensors of a folder, without its optimizer states.

    Args:
        path: The folder.

    Returns:
        Tensors, nested as they were saved.

    Raises:
        FileNotFoundError: If a file that the metadata names is missing.
        ValueError: If the folder is damaged or refers to anything that is no part of a checkpoint.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    class Reader(FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
            return metadata

    try:
        metadata: Metadata = _MetadataUnpickler(io.BytesIO((path / ".metadata").read_bytes())).load()
        places = metadata.planner_data or {}
        outward = [
            i.relative_path for i in metadata.storage_data.values() if Path(i.relative_path).name != i.relative_path
        ]
        if outward:
            raise ValueError(f"it refers to {outward[0]!r}, outside of the folder")
        # Tensors only: any other entry is a pickle of its own, which torch loads without restriction.
        flat = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
            for name, entry in metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata) and not _is_optimizer(places.get(name, (name,)))
        }
        claimed = sum(tensor.numel() * tensor.element_size() for tensor in flat.values())
        if claimed > max(FREE, RATIO * sum(file.stat().st_size for file in path.iterdir())):
            raise ValueError(f"it claims {claimed / 2**20:,.0f} MiB of tensors, far more than its files hold")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torch.distributed is not initialised
            flat = {name: torch.empty_like(tensor, device="cpu") for name, tensor in flat.items()}
            load(flat, storage_reader=Reader(path), no_dist=True)
    except (Exception, CheckpointException) as error:
        # torch wraps whatever happened, an interrupt too, in an exception that is no Exception.
        cause = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
        if not isinstance(cause, Exception):
            raise cause from None
        if isinstance(cause, FileNotFoundError):
            raise FileNotFoundError(f"{path} lacks {Path(cause.filename).name}, which its .metadata names") from cause
        reason = shortened(str(cause).split("\n")[0]) or type(cause).__name__
        raise ValueError(
            f"{path} cannot be read as a torch.distributed.checkpoint folder ({reason}); use another copy of it"
        ) from cause
    nested: dict[str, Any] = {}
    for name, tensor in flat.items():
        *outer, last = places.get(name, (name,))
        inner = nested
        for part in outer:
            inner = inner.setdefault(str(part), {})
        inner[str(last)] = tensor
    return nested


def _is_optimizer(place: tuple[str | int, ...]) -> bool:
    return len(place) > 1 and any(str(part).startswith("optim") for part in place[:-1])
