"""What ``lrscape probe`` tells about a surface."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import LossSurface
    from ..landscape.checkpoints import CheckpointReport


def as_record(surface: LossSurface, report: CheckpointReport, out: Path) -> dict[str, Any]:
    """Collect the result for ``--json``.

    Args:
        surface: With "loss" and "seconds" in its provenance.
        report: On the checkpoint.
        out: Where the surface was saved.

    Returns:
        By name; "minimum" and "maximum" are over the finite losses, None if there is none.
    """
    finite = np.isfinite(surface.losses)
    center = surface.center_index
    seconds = float(surface.provenance["seconds"])
    return {
        "out": os.fspath(out),
        "checkpoint": dataclasses.asdict(report),
        "loss": surface.provenance["loss"],
        "shape": surface.shape,
        "points": len(surface),
        "not_finite": int((~finite).sum()),
        "center": surface.center,
        "minimum": _extreme(surface, np.where(finite, surface.losses, np.inf).argmin()),
        "maximum": _extreme(surface, np.where(finite, surface.losses, -np.inf).argmax()),
        "metrics": {name: values[center] for name, values in surface.metrics.items()},
        "seconds": seconds,
        "points_per_second": len(surface) / seconds,
        "engine": surface.provenance["engine"],
        "device": surface.provenance["device"],
    }


def _extreme(surface: LossSurface, index: np.intp) -> dict[str, Any] | None:
    loss = float(surface.losses[index])
    return {"loss": loss, "at": surface.coordinates[index].tolist()} if np.isfinite(loss) else None


def as_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Word the result for a person.

    Args:
        record: From :func:`as_record`.

    Returns:
        Names and values, one line each.
    """
    lines = [("loss", str(record["loss"])), ("center", f"{record['center']:.6g}")]
    for name in ("minimum", "maximum"):
        extreme = record[name]
        if extreme is None:
            lines.append((name, "none, since no loss is finite"))
        else:
            place = ", ".join(f"{coordinate:.3g}" for coordinate in extreme["at"])
            lines.append((name, f"{extreme['loss']:.6g} at ({place})"))
    lines += [(name, f"{value:.6g} at the center") for name, value in record["metrics"].items()]
    if record["not_finite"]:
        lines.append(("not finite", f"{record['not_finite']} of {record['points']} losses"))
    rate = f"{record['points_per_second']:.3g} points/s"
    engine = f"{record['engine']} engine on {record['device']}"
    lines.append(("time", f"{record['seconds']:.2f} s for {record['points']} points ({rate}), {engine}"))
    checkpoint = record["checkpoint"]
    prefix = [f"{checkpoint[what]!r} {what}" for what in ("stripped", "added") if checkpoint[what]]
    if prefix:
        lines.append(("prefix", " and ".join(prefix)))
    lines.append(("saved", record["out"]))
    return lines
