"""Archives of arrays from anybody: nothing in them is executed, and memory is bounded by their size on disk."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import BUFFER, as_path, here

FREE = 2**28  # bytes that an archive may hold however small it is
RATIO = 100  # else at most so many times its size on disk; what is more is no data of ours, but made to fill memory
_BLOCK = 2**20
_KINDS = "biuf"  # booleans and real numbers: neither objects nor texts


def check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Reject an archive that is small on disk and huge in memory.

    Args:
        archive: Opened for reading.
        size: Of the file, bytes.

    Raises:
        ValueError: If it claims to hold more than a hundred times its size, and more than 256 MiB.
    """
    total = sum(info.file_size for info in archive.infolist())
    if total > max(FREE, RATIO * size):
        raise ValueError(
            f"it holds {total / 2**20:,.0f} MiB in a file of {size / 2**20:,.1f} MiB; such an archive is made to fill "
            "the memory"
        )


class ArrayArchive:
    """The arrays of an ``.npz`` file, read one by one when they are asked for.

    Args:
        archive: Opened for reading.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read an array of numbers; the size that its header claims must be there."""
        if name not in self:
            raise ValueError(f"it lacks {name!r}")
        info = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            if version not in {(1, 0), (2, 0)}:
                raise ValueError(f"{name!r} has version {version} of NumPy's format, not 1.0 or 2.0")
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            if dtype.kind not in _KINDS:
                raise ValueError(f"{name!r} holds {dtype}, not numbers")
            count, rest = math.prod(shape), info.file_size - file.tell()
            if min(shape, default=0) < 0 or count * dtype.itemsize != rest:
                raise ValueError(f"{name!r} claims the shape {shape} and holds {rest} bytes")
            array = np.empty(count, dtype)
            room, done = array.view(np.uint8), 0
            while done < rest:
                block = file.read(min(_BLOCK, rest - done))
                if not block:
                    raise ValueError(f"{name!r} ends after {done} of {rest} bytes")
                room[done : done + len(block)] = np.frombuffer(block, np.uint8)
                done += len(block)
        return array.reshape(shape, order="F" if fortran else "C")

    def header(self, name: str, schema: int) -> dict[str, Any]:
        """Read the JSON object that says what the arrays are.

        Args:
            name: Of the array of bytes that holds it.
            schema: The newest that can be read.

        Returns:
            The object.

        Raises:
            ValueError: If it is none, or from a newer version.
        """
        found = json.loads(self[name].tobytes().decode())
        if not isinstance(found, dict):
            raise ValueError(f"its {name} is a {type(found).__name__}, not an object")
        version = found.get("schema")
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"it has schema {version!r}, which is none")
        if version > schema:
            raise ValueError(f"it has schema {version}, this lrscape reads up to {schema}; update lrscape")
        return found


@contextmanager
def opened_archive(path: str | os.PathLike[str], problem: str, advice: str = "") -> Iterator[ArrayArchive]:
    """Open an ``.npz`` file; whatever its content makes go wrong becomes one error that names the file.

    Args:
        path: The file.
        problem: What to say of a file that cannot be read, e.g. "is not a loss surface written by lrscape".
        advice: What to do then.

    Yields:
        The arrays.

    Raises:
        TypeError: If ``path`` is no name of a file.
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be opened.
        MemoryError: If what it really holds does not fit into memory.
        ValueError: If it is damaged, or holds something else.
    """
    place = as_path(path, BUFFER)
    name = os.fspath(path)
    if not place.exists():
        raise FileNotFoundError(f"there is no file {name}; check the path, relative to {here()}")
    try:
        with place.open("rb") as file, zipfile.ZipFile(file) as archive:
            check_size(archive, place.stat().st_size)
            yield ArrayArchive(archive)
    except MemoryError as error:
        raise MemoryError(f"{name} does not fit into memory ({error})") from error
    except Exception as error:  # garbage makes the readers raise anything
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ValueError(f"{name} {problem}: {reason}{advice}") from error
