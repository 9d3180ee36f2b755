"""What ``lrscape trajectory`` tells about a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .columns import columns, number, place

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import LossSurface, Trajectory


def as_record(surface: LossSurface, found: Trajectory, out: Path, figure: Path | None) -> dict[str, Any]:
    """Collect the result for ``--json``.

    Args:
        surface: As saved.
        found: The plane and the path.
        out: Where the surface was saved.
        figure: Where it was drawn, None if it was not.

    Returns:
        By name.
    """
    told = surface.provenance
    rows = zip(
        told["path_checkpoints"], told["path"], told["path_losses"], told["path_plane_losses"], told["path_distances"],
        strict=True,
    )  # fmt: skip
    return {
        "out": str(out),
        "figure": None if figure is None else str(figure),
        "loss": told["loss"],
        "center": found.center,
        "explained_variance": found.explained_variance,
        "spectrum": found.spectrum,
        "shape": surface.shape,
        "checkpoints": [
            {
                "checkpoint": name,
                "at": at,
                "true_loss": true,
                "plane_loss": plane,
                "distance": distance,
                "metrics": {metric: values[i] for metric, values in told["path_metrics"].items()},
            }
            for i, (name, at, true, plane, distance) in enumerate(rows)
        ],
        "seconds": told["seconds"],
    }


def as_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Word the result for a person.

    Args:
        record: From :func:`as_record`.

    Returns:
        Names and values, one line each.
    """
    rows = [
        (row["checkpoint"], place(row["at"]), number(row["true_loss"]), number(row["plane_loss"]),
         number(row["distance"], 3), *[number(value) for value in row["metrics"].values()])
        for row in record["checkpoints"]
    ]  # fmt: skip
    metrics = record["checkpoints"][0]["metrics"]
    head = ("checkpoint", "at", "true loss", "in the plane", "off plane", *[f"true {name}" for name in metrics])
    shares = " + ".join(f"{share:.1%}" for share in record["explained_variance"])
    around = "last checkpoint" if record["center"] == "final" else "mean"
    lines = columns(head, rows)
    total = f"{sum(record['explained_variance']):.1%}"
    lines.append(("explained", f"{shares} = {total} of the squared distances from the {around}"))
    shape = "×".join(map(str, record["shape"]))
    lines.append(("time", f"{record['seconds']:.2f} s for {shape} points and {len(rows)} checkpoints"))
    lines.append(("saved", record["out"]))
    if record["figure"]:
        lines.append(("figure", record["figure"]))
    return lines
