"""What ``lrscape tda`` tells about surfaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface
    from ..tda import Profile

COLUMNS = ("surface", "basins", "depths", "barriers", "loops", "roughness", "noise", "loss")
LISTED = 3  # depths and barriers of so many basins stand in the table; --json has all


def short_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Name surfaces by their files where that tells them apart, else by their paths, else with a number.

    Args:
        paths: Files, each once.

    Returns:
        Names that can be part of a file's name.

    Example:
        >>> list(short_names([Path("a/s.npz"), Path("b/s.npz")]).values())
        ['a-s', 'b-s']
    """
    stems = {path: path.stem for path in paths}
    if len(set(stems.values())) == len(paths):
        return stems
    names: dict[Path, str] = {}
    for path in paths:
        name = "-".join(part for part in path.with_suffix("").parts if part not in {"/", "..", "."})
        free, number = name, 1
        while free in names.values():
            number += 1
            free = f"{name}~{number}"
        names[path] = free
    return names


def as_record(path: Path, surface: LossSurface, profile: Profile, source: str | float | None) -> dict[str, Any]:
    """Collect one surface's result for ``--json``.

    Args:
        path: Its file.
        surface: The surface.
        profile: Of it.
        source: Where the noise comes from.

    Returns:
        The profile's fields, with coordinates of the bottoms beside their indices.
    """
    places = [[float(axis[i]) for axis, i in zip(surface.axes, at, strict=True)] for at in profile.minima.tolist()]
    return {"surface": str(path), "noise": source, "center": surface.center, "coordinates": places, **profile.as_dict()}


def as_row(name: str, profile: Profile) -> tuple[str, ...]:
    """Word one surface's result for a person.

    Args:
        name: Of the surface.
        profile: Of it.

    Returns:
        One text for each of COLUMNS.
    """
    return (
        name,
        str(profile.n_basins),
        _listed(profile.depths),
        _listed(profile.barriers[1:]),
        str(profile.n_loops),
        f"{profile.roughness:.3g}",
        f"{profile.noise_floor:.3g}" if profile.noise_floor else "none",
        f"{profile.lowest:.3g} to {profile.highest:.3g}" + (f", {profile.holes} not finite" if profile.holes else ""),
    )


def table(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Lay out the comparison.

    Args:
        rows: From :func:`as_row`.

    Returns:
        Names and lines of equal columns, the heads first.

    Example:
        >>> table([("a", "1", "2.5", "", "0", "0", "none", "0 to 2.5")])[1]
        ('a', '1       2.5     –         0      0          none   0 to 2.5')
    """
    lines = [COLUMNS, *[tuple(cell or "–" for cell in row) for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)) for line in lines]
    return [(line[0], text.rstrip()) for line, text in zip(lines, texts, strict=True)]


def _listed(values: Iterable[float]) -> str:
    texts = [f"{value:.3g}" for value in values]
    return ", ".join(texts[:LISTED]) + (", …" if len(texts) > LISTED else "")
