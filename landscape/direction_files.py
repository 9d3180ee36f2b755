"""Directions in files."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .archives import opened_archive
from .boxes import boxes, spans
from .directions import Directions
from .files import atomic_write
from .parameters import all_slots, working_dtype
from .seeded import SeededTensors
from .shards import is_spread

SCHEMA = 1


def _json(value: object) -> object:
    """Keep what JSON has, and write anything else as text."""
    match value:
        case Mapping():
            return {str(key): _json(item) for key, item in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
        case bool() | int() | float() | str() | None:
            return value
        case _:
            return str(value)


def write_directions(directions: Directions, path: str | os.PathLike[str]) -> None:
    """Write directions to an ``.npz`` file, atomically and block by block.

    Args:
        directions: The directions.
        path: Where; the name is taken as it is.
    """
    header = {
        "schema": SCHEMA,
        "kind": directions.kind,
        "names": list(directions.tensors),
        "details": _json(directions.details),
        "left_out": list(directions.left_out),
    }
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for i, name in enumerate(directions.tensors):  # numbered, because a parameter's name need not be a file name
            _write_array(archive, f"tensor{i}", *_rows(directions, name))
        text = json.dumps(header).encode()
        _write_array(archive, "directions", (len(text),), np.dtype(np.uint8), iter([text]))


def _rows(directions: Directions, name: str) -> tuple[tuple[int, ...], np.dtype[Any], Iterator[bytes]]:
    """Describe one parameter's directions as an array: shape, dtype and bytes, block by block."""
    tensors, k = directions.tensors, len(directions)
    shape = (k, *directions.shape(name))
    if isinstance(tensors, SeededTensors):
        return shape, _numpy_dtype(tensors.dtype(name)), tensors.row_bytes(name)
    tensor = tensors[name].detach()
    if is_spread(tensor):
        tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return shape, _numpy_dtype(tensor.dtype), _tensor_bytes(tensor)


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype, device="cpu").numpy().dtype


def _tensor_bytes(tensor: Tensor) -> Iterator[bytes]:
    shape = tuple(tensor.shape)
    for start, stop in spans(tensor.numel()):
        for box in boxes(shape, start, stop):
            yield tensor[box].cpu().contiguous().numpy().tobytes()


def _write_array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[bytes]
) -> None:
    """Write one array as ``np.savez`` does, without ever having it whole."""
    entry = zipfile.ZipInfo(f"{name}.npy")  # no date: the same directions give the same file
    with archive.open(entry, "w", force_zip64=True) as file:
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)
        for block in blocks:
            file.write(block)


def read_directions(path: str | os.PathLike[str], model: nn.Module | None = None) -> Directions:
    """Read directions from a file; no pickled object is ever loaded.

    Args:
        path: A file of :func:`write_directions`.
        model: Put each tensor where this model's parameter is; on the CPU without.

    Returns:
        The directions.

    Raises:
        ValueError: If the file holds no directions, is damaged, comes from a newer version, or does not fit the model.
    """
    with opened_archive(path, "does not hold directions written by lrscape") as archive:
        header = archive.header("directions", SCHEMA)
        names, kind, details, left_out = (header[key] for key in ("names", "kind", "details", "left_out"))
        if not (isinstance(kind, str) and isinstance(details, dict) and all(isinstance(n, str) for n in left_out)):
            raise ValueError("its kind, details or what is left out have another form")
        arrays = {str(name): archive[f"tensor{i}"] for i, name in enumerate(names)}
        if len({array.shape[:1] for array in arrays.values()}) != 1 or not all(array.ndim for array in arrays.values()):
            raise ValueError("its tensors are not the same number of directions each")
        if not all(array.dtype in {np.dtype(np.float32), np.dtype(np.float64)} for array in arrays.values()):
            raise ValueError("its tensors are not all in single or double precision")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        found = Directions(tensors, kind, details, tuple(left_out))
    return found if model is None else _placed(found, model, path)


def _placed(directions: Directions, model: nn.Module, path: str | os.PathLike[str]) -> Directions:
    slots = {slot.canonical: slot for slot in all_slots(model)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in directions.tensors.items():
        slot = slots.get(name)
        if slot is None or slot.parameter.shape != tensor.shape[1:]:
            has = "no such parameter" if slot is None else f"it with shape {tuple(slot.parameter.shape)}"
            raise ValueError(
                f"{os.fspath(path)} moves {name} with shape {tuple(tensor.shape[1:])}, but {type(model).__name__} has "
                f"{has}; use the model that the directions were made from"
            )
        tensors[name] = tensor.to(slot.parameter.device, working_dtype(slot.parameter))
    return Directions(tensors, directions.kind, directions.details, directions.left_out)
