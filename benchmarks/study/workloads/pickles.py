"""Read the pickles of a data set without running what they might contain."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

ALLOWED = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "_codecs": {"encode"},
}


class ArraysOnly(pickle.Unpickler):
    """Build numpy arrays and Python's own containers, and refuse everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a class or function.

        Args:
            module: Where it lives.
            name: What it is called.

        Returns:
            It, if arrays need it.

        Raises:
            UnpicklingError: If they do not.
        """
        if name not in ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(
                f"the file asks for {module}.{name}, which arrays do not need; it is not CIFAR's, and was not loaded"
            )
        # numpy 2 moved its core, and the old name warns
        return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)


def read(path: Path) -> dict[bytes, Any]:
    """Read a pickled dictionary of arrays, as Python 2 wrote it.

    Args:
        path: The file.

    Returns:
        The dictionary; its keys are bytes.

    Raises:
        TypeError: If the file holds something else.
    """
    with path.open("rb") as file:
        found = ArraysOnly(file, encoding="bytes").load()
    if not isinstance(found, dict):
        raise TypeError(
            f"{path} holds a {type(found).__name__}, not a dictionary; pass a folder of CIFAR's Python version"
        )
    return found
