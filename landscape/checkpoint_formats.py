"""Checkpoint files and folders, read without executing anything in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint_distributed import read_distributed
from .checkpoint_storages import check_archive, check_extents
from .checkpoint_text import few, shortened
from .files import BUFFER, as_path, here

_UNSAFE = "unsafe=True (--unsafe-load on the command line)"


def read_checkpoint(path: str | os.PathLike[str], *, unsafe: bool = False) -> Any:
    """Read a checkpoint onto the CPU, as it was saved.

    Nothing in the file is executed: pickles are read with ``weights_only=True``, and the metadata of
    torch.distributed.checkpoint, which torch itself unpickles without restriction, through an allow-list of torch's
    own classes.

    Args:
        path: A file of ``torch.save`` or safetensors, a Transformers folder (also sharded), or a folder of
            torch.distributed.checkpoint (whose optimizer states and entries that are not tensors are skipped).
        unsafe: Unpickle arbitrary objects, which may run arbitrary code: only for files you trust.

    Returns:
        What was saved, usually a dict.

    Raises:
        TypeError: If ``path`` is no name of a file.
        FileNotFoundError: If there is no such file, or a shard is missing.
        ImportError: If the file needs safetensors, which is not installed.
        ValueError: If it is no checkpoint, is damaged, or holds objects that are not weights.
    """
    return read_any(as_path(path, BUFFER), unsafe)[0]


def read_any(path: Path, unsafe: bool) -> tuple[Any, str]:
    """Read a file or folder of any known format.

    Args:
        path: The file or folder.
        unsafe: Unpickle arbitrary objects.

    Returns:
        What was saved, and the format.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    if path.is_dir():
        return _read_folder(path, unsafe)
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; check the path, relative to {here()}")
    if not path.is_file():
        raise ValueError(f"{path} is neither a file nor a folder; save the checkpoint to a file first")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ValueError(f"{path} is empty; saving it was probably interrupted, use an earlier checkpoint")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the checkpoint itself; fetch it with 'git lfs pull'")
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return _read_safetensors(path), "safetensors"
    return _read_torch(path, unsafe, is_zip=head.startswith(b"PK"))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            f"{path} needs safetensors, which is not installed; run: pip install lrscape[safetensors]"
        ) from error
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:  # a sound header may lie, too
        reason = shortened(str(error)) or type(error).__name__
        raise ValueError(f"{path} is damaged or not a safetensors file ({reason}); use another copy of it") from error


def _read_torch(path: Path, unsafe: bool, is_zip: bool) -> tuple[Any, str]:
    script = is_zip and _is_torchscript(path)
    if script and not unsafe:
        raise ValueError(
            f"{path} is a TorchScript archive, which holds code; save model.state_dict() instead, or load it with "
            f"{_UNSAFE} if you trust it"
        )
    if is_zip and not unsafe:
        try:
            check_archive(path)
        except Exception as error:  # garbage makes the reader raise anything
            raise _unreadable(path, error) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript: said in our own words
            if unsafe and not is_zip and not _is_legacy(path):
                with path.open("rb") as file:
                    return pickle.load(file), "torch"
            content = torch.load(path, map_location="cpu", weights_only=not unsafe)
            if not unsafe:
                check_extents(content)
            return content, "torchscript" if script else "torch"
    except Exception as error:  # garbage makes the reader raise anything, KeyError and OSError included
        classes = [] if unsafe else _classes(path, is_zip)
        if classes:
            module = any(name.startswith("torch.nn.modules.") for name in classes)
            advice = "save model.state_dict() instead of the model" if module else "save tensors and numbers only"
            raise ValueError(
                f"{path} holds objects other than weights, which could run any code when loaded: {few(classes)}; "
                f"{advice}, or load it with {_UNSAFE} if you trust it"
            ) from error
        if unsafe and isinstance(error, AttributeError | ImportError):
            raise ValueError(
                f"{path} needs a class that cannot be imported here ({_reason(error)}); put its module on the path, or "
                "save model.state_dict(), which needs none"
            ) from error
        raise _unreadable(path, error) from error


def _reason(error: Exception) -> str:
    return shortened(str(error).split("\n")[0].strip().rstrip(".")) or type(error).__name__


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as a PyTorch checkpoint ({_reason(error)}); it is truncated, damaged, or not written "
        "by torch.save; use another copy of it"
    )


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False


def _is_legacy(path: Path) -> bool:
    """Tell torch's format before 1.6, a row of pickles that opens with a magic number, from any other pickle."""
    with path.open("rb") as file:
        return 0x1950A86A20F9469CFC6C in {argument for _, argument, _ in _opcodes(file)}


def _opcodes(file: io.BufferedIOBase | io.BufferedReader) -> Iterator[tuple[str, Any, int | None]]:
    """Yield the instructions of one pickle, none if it is damaged, without executing any."""
    try:
        for opcode, argument, position in pickletools.genops(file):  # type: ignore[arg-type]  # needs only read, readline
            yield opcode.name, argument, position
    except Exception:  # damaged pickles raise anything
        return


def _classes(path: Path, is_zip: bool) -> list[str]:
    """Name the classes and functions that keep a file from loading as weights."""
    if is_zip:
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # the archive itself is damaged
            return []
    found: set[str] = set()
    with path.open("rb") as file:
        for _ in range(4):  # the magic number, the version, facts about the system, the object
            texts: list[str] = []
            memo: dict[int, str] = {}
            for name, argument, _ in _opcodes(file):
                if name == "GLOBAL":
                    found.add(argument.replace(" ", "."))
                elif name == "STACK_GLOBAL" and len(texts) > 1:
                    found.add(".".join(texts[-2:]))
                elif name == "MEMOIZE":
                    memo[len(memo)] = texts[-1] if texts else ""
                elif name in {"BINGET", "LONG_BINGET"}:
                    texts.append(memo.get(argument, ""))
                elif isinstance(argument, str):
                    texts.append(argument)
    harmless = ("torch._utils._rebuild", "collections.OrderedDict", "torch.Size")
    return sorted(name for name in found if not (name.startswith(harmless) or name.endswith("Storage")))


def _read_folder(path: Path, unsafe: bool) -> tuple[Any, str]:
    if (path / ".metadata").is_file():
        return read_distributed(path), "distributed"
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return read_any(path / name, unsafe)[0], "transformers"
        index = path / f"{name}.index.json"
        if index.is_file():
            return _read_shards(index, unsafe), "transformers"
    inside = [entry.name for entry in sorted(path.iterdir())]
    raise ValueError(
        f"the folder {path} holds no checkpoint: neither model.safetensors nor pytorch_model.bin (Transformers) nor "
        f".metadata (torch.distributed.checkpoint), but {few(inside) if inside else 'nothing'}; name the file itself"
    )


def _read_shards(index: Path, unsafe: bool) -> dict[str, Any]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not all(isinstance(shard, str) and "\0" not in shard and len(os.fsencode(shard)) < 256 for shard in shards):
            raise ValueError("it names shards by something else than names of files")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{index} is not the index of a sharded checkpoint ({type(error).__name__}: {error})"
        ) from error
    whole: dict[str, Any] = {}
    for shard in shards:
        if Path(shard).name != shard:
            raise ValueError(f"{index} names the shard {shard!r}, which must be a file in the same folder")
        if not (index.parent / shard).is_file():
            raise FileNotFoundError(f"{index} names the shard {shard}, which is not there; fetch all {len(shards)}")
        whole.update(read_any(index.parent / shard, unsafe)[0])
    return whole
