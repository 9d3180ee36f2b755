"""What is trained: real data that needs no download, and CIFAR where the user has it."""

from __future__ import annotations

from pathlib import Path

from .characters import CHARACTERS
from .cifar import folder
from .cifar import workload as cifar
from .digits import DIGITS, NOISY, NOISY_SGD
from .residual import RESIDUAL
from .tabular import TABULAR
from .tasks import GROUPED, REDRAWN
from .workload import Workload

BUNDLED = {workload.name: workload for workload in (DIGITS, CHARACTERS, NOISY, NOISY_SGD, TABULAR, RESIDUAL)}
TASKS = {workload.name: workload for workload in (GROUPED, REDRAWN)}


def workloads(data: Path | None = None, device: str = "cpu") -> dict[str, Workload]:
    """List what can be trained here.

    Args:
        data: A folder with CIFAR's files, if there is one.
        device: Where CIFAR is trained.

    Returns:
        Workloads by name, those first on which our defaults were developed.

    Raises:
        FileNotFoundError: If the folder holds neither CIFAR-10 nor CIFAR-100.
    """
    if data is None:
        return {**BUNDLED, **TASKS}
    found = {}
    for classes in (10, 100):
        if folder(data, classes) is not None:
            entry = cifar(data, classes, device)
            found[entry.name] = entry
    if not found:
        raise FileNotFoundError(f"neither CIFAR-10 nor CIFAR-100 in {data}: unpack their Python versions there")
    return {**BUNDLED, **TASKS, **found}
