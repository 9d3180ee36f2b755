"""What a report says, and in which order."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .compare import HEAD, row
from .describe import describe, differences
from .report_measure import Chapter
from .report_page import contents, facts, heading, paragraph, picture, table
from .tda_table import COLUMNS, as_row, short_names

PACKAGES = ("lrscape", "torch", "numpy", "scipy", "gudhi", "matplotlib")
LONG = 400  # characters of one value
WORDS = {"curvature": "The Hessian", "profile": "The topology", "history": "The learning rate's history"}


def body(title: str, chapters: Sequence[Chapter], story: Sequence[tuple[str, str]], *, log: bool) -> str:
    """Write the page's content.

    Args:
        title: Of the page.
        chapters: One for each checkpoint.
        story: How the page came about: names and values.
        log: Logarithmic losses in the figures, where they are positive.

    Returns:
        HTML.
    """
    names = short_names([Path(chapter.name) for chapter in chapters])
    short = [names[Path(chapter.name)] for chapter in chapters]
    parts = [heading(1, title)]
    places = [(f"checkpoint-{i + 1}", chapter.name) for i, chapter in enumerate(chapters)]
    parts.append(contents([*places, ("provenance", "Provenance")]))
    described = [describe(chapter.surface) for chapter in chapters]
    parts.append(table(HEAD, [row(name, numbers) for name, numbers in zip(short, described, strict=True)]))
    if len(chapters) > 1:
        parts += _together(chapters, short, log)
    for (place, _), chapter, name in zip(places, chapters, short, strict=True):
        parts += [heading(2, chapter.name, place), *_chapter(chapter, name, log)]
    parts += [heading(2, "Provenance", "provenance"), facts([*story, *_versions()])]
    return "\n".join(parts)


def _positive(chapter: Chapter, log: bool) -> bool:
    """Tell whether losses can be shown on a logarithmic scale."""
    return log and bool((chapter.surface.losses > 0).all())


def _together(chapters: Sequence[Chapter], names: Sequence[str], log: bool) -> list[str]:
    from .. import viz

    surfaces = [chapter.surface for chapter in chapters]
    unlike = differences(surfaces)
    parts = [paragraph(f"Not measured alike: {'; '.join(unlike)}.", note=True)] if unlike else []
    every = all(_positive(chapter, log) for chapter in chapters)
    return parts + _drawn(
        "The surfaces on one scale of colours.",
        lambda: viz.multiples(surfaces, labels=names, log=every, across=min(5, len(names))),
    )


def _chapter(chapter: Chapter, name: str, log: bool) -> list[str]:
    from .. import viz
    from .summary import as_lines, as_record

    surface, log = chapter.surface, _positive(chapter, log)
    parts = [heading(3, "Surface")]
    parts += _drawn("The loss from above; the dot is the checkpoint.", lambda: viz.contour(surface, log=log))
    parts += _drawn("The same in perspective.", lambda: viz.surface3d(surface, log=log))
    for metric in surface.metrics:
        parts += _drawn(f"{metric}.", lambda metric=metric: viz.contour(surface, metric=metric))  # type: ignore[misc]
    told = as_lines(as_record(surface, chapter.report, Path(chapter.name)))
    parts.append(facts([line for line in told if line[0] != "saved"]))
    parts += _curvature(chapter)
    parts += _topology(chapter, name, log)
    if chapter.history is not None:
        parts.append(heading(3, "Learning rate"))
        decisions, source = chapter.history.decisions, chapter.history.source
        count = f"{len(decisions)} decision{'' if len(decisions) == 1 else 's'}"
        parts += _drawn(f"The learning rate, {count}, from {source}.", lambda: viz.lr_trace(decisions))
    parts += [paragraph(f"{WORDS[what]} is not shown: {why}.", note=True) for what, why in chapter.missing.items()]
    parts.append(heading(3, "Where it comes from"))
    parts.append(facts([*_file(chapter), *_origin(surface.provenance)]))
    return parts


def _curvature(chapter: Chapter) -> list[str]:
    if chapter.curvature is None:
        return []
    from .. import viz
    from .curvature_table import as_lines

    record, found = chapter.curvature
    parts = [heading(3, "Curvature")]
    if found.density is not None:
        density = found.density
        parts += _drawn("The spectrum of the Hessian.", lambda: viz.spectrum(density, eigenvalues=found.largest))
    if found.layers:
        whole = float(found.largest.eigenvalues[0])
        parts += _drawn(
            "The largest eigenvalue of each layer's block.", lambda: viz.layer_sharpness(found.layers, whole=whole)
        )
    lines = as_lines({**record, "layers": [], "figures": []})  # a figure shows the layers
    parts.append(facts([line for line in lines if line[0] != "saved"]))
    return parts


def _topology(chapter: Chapter, name: str, log: bool) -> list[str]:
    if chapter.profile is None:
        return []
    from .. import viz

    surface = chapter.surface
    return [
        heading(3, "Topology"),
        *_drawn("Basins, and the passes at which they end.", lambda: viz.basins(surface, log=log)),
        *_drawn("The persistence diagram.", lambda: viz.persistence_diagram(surface, log=log)),
        table(COLUMNS, [as_row(name, chapter.profile)]),
    ]


def _drawn(caption: str, draw: Callable[[], Any]) -> list[str]:
    """Draw a figure, or say why there is none."""
    try:
        return [picture(draw(), caption)]
    except ValueError as error:
        return [paragraph(f"No figure ({caption.rstrip('.')}): {error}.", note=True)]


def _file(chapter: Chapter) -> list[tuple[str, str]]:
    report = chapter.report
    rows = [
        ("file", report.path),
        ("SHA-256", chapter.digest),
        ("bytes", f"{chapter.size:,}"),
        ("format", report.format),
        ("weights found under", report.key or "the top"),
    ]
    return rows + [(f"prefix {what}", getattr(report, what)) for what in ("stripped", "added") if getattr(report, what)]


def _origin(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _readable(value)) for name, value in provenance.items() if name != "checkpoint"]


def _readable(value: Any) -> str:
    """Write a value of the provenance; long lists are cut."""
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else value
    return text if len(text) <= LONG else f"{text[:LONG]} … ({len(text)} characters)"


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:  # run from a folder that was never installed
            found.append((package, "not installed as a package"))
    return [*found, ("Python", platform.python_version()), ("system", f"{platform.system()} {platform.machine()}")]
