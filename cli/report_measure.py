"""What a report measures of each checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .advice import for_shell
from .measurement import Measurement, prepare
from .nearby_history import Told, history_of
from .output import Output

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import CheckpointReport, LossSurface
    from ..tda import Profile
    from .curvature_estimates import Estimates

# A page needs fewer digits than lrscape curvature gives.
ESTIMATES: dict[str, Any] = {
    "mode": "auto",
    "chunk": None,
    "top": 3,
    "smallest": 1,
    "tolerance": 1e-3,
    "trace_error": 0.05,
    "products": 60,
    "vectors": 3,
    "steps": 30,
    "no_density": False,
    "save_directions": None,
}


@dataclass
class Chapter:
    """All about one checkpoint.

    Attributes:
        name: As it was given.
        report: On its loading.
        digest: SHA-256 of the file, or of the files of the folder.
        size: Bytes.
        surface: Around it.
        curvature: The record of ``lrscape curvature``, and the estimates; None if they are missing.
        profile: Topology of the surface; None if it is missing.
        history: Decisions of its scheduler, and where they come from; None if none were found.
        missing: What could not be measured, and why.
    """

    name: str
    report: CheckpointReport
    digest: str
    size: int
    surface: LossSurface
    curvature: tuple[dict[str, Any], Estimates] | None = None
    profile: Profile | None = None
    history: Told | None = None
    missing: dict[str, str] = field(default_factory=dict)


def measure_all(
    path: str, arguments: argparse.Namespace, output: Output, history: Told | None, *, shared: bool = True
) -> Chapter:
    """Measure everything about one checkpoint.

    Args:
        path: The checkpoint.
        arguments: Of the command.
        output: For notes.
        history: Of its learning rate, if it is known.
        shared: Whether a history in its folder that does not have its name counts as its own.

    Returns:
        The chapter; what could not be measured is named in it.
    """
    from .. import tda

    measurement = prepare(arguments, path, output)
    digest, size = hash_files(Path(path))
    chapter = Chapter(path, measurement.report, digest, size, _surface(measurement, arguments))
    if not arguments.no_curvature:
        _attempt(chapter, "curvature", arguments, output, lambda: _curvature(measurement, arguments, output))
    surface = chapter.surface
    noise = None if surface.standard_error is None else surface.standard_error.reshape(surface.values.shape)
    _attempt(chapter, "profile", arguments, output, lambda: tda.profile(surface.values, noise))
    if history is None:
        _attempt(chapter, "history", arguments, output, lambda: history_of(path, arguments.unsafe_load, shared=shared))
    else:
        chapter.history = history
    return chapter


def _attempt(
    chapter: Chapter, what: str, arguments: argparse.Namespace, output: Output, measure: Callable[[], Any]
) -> None:
    """Fill a part of the chapter, or say why it stays empty."""
    try:
        setattr(chapter, what, measure())
    except (ValueError, RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        reason = for_shell(" ".join(str(error).split()), vars(arguments)) or type(error).__name__
        chapter.missing[what] = reason
        output.note(f"{what} of {chapter.name} is left out: {reason}")


def _surface(measurement: Measurement, arguments: argparse.Namespace) -> LossSurface:
    from .. import landscape

    directions = landscape.random_directions(
        measurement.model,
        2,
        norm=arguments.norm,
        bias=arguments.bias,
        orthogonal=arguments.orthogonal,
        seed=arguments.seed,
        parameters=arguments.parameters,
        memory=arguments.memory,
    )
    start = time.perf_counter()
    how = {**measurement.how, "partial": None}
    points = landscape.grid(arguments.grid, arguments.span)
    surface = landscape.evaluate(measurement.model, measurement.objective, directions, points, **how)
    origin = {
        "checkpoint": measurement.report.path,
        "model_factory": arguments.model,
        "data": arguments.data,
        "loss": measurement.loss_name,
        "seconds": time.perf_counter() - start,
    }
    return dataclasses.replace(surface, provenance={**surface.provenance, **origin})


def _curvature(
    measurement: Measurement, arguments: argparse.Namespace, output: Output
) -> tuple[dict[str, Any], Estimates]:
    from .curvature_estimates import estimate
    from .curvature_table import as_record

    settings = argparse.Namespace(**{**vars(arguments), **ESTIMATES})
    start = time.perf_counter()
    found = estimate(measurement, settings, output)
    return as_record(found, measurement, settings, time.perf_counter() - start), found


def hash_files(path: Path) -> tuple[str, int]:
    """Hash a checkpoint.

    Args:
        path: A file; or a folder, of which all files count, with their names.

    Returns:
        SHA-256 in hexadecimal digits, and the number of bytes.
    """
    digest, size = hashlib.sha256(), 0
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if file != path:
            digest.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
                size += len(block)
    return digest.hexdigest(), size
