"""What ``lrscape probe`` tells about a surface."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import LossSurface
    from ..landscape.checkpoints import CheckpointReport

NAMED = 6  # parameters that do not move


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
    origin = surface.provenance
    seconds = float(origin["seconds"])
    adaptive = origin.get("adaptive")
    measured = adaptive["measured"] if adaptive else len(surface)
    return {
        "out": os.fspath(out),
        "checkpoint": dataclasses.asdict(report),
        "loss": origin["loss"],
        "shape": surface.shape,
        "points": len(surface),
        "measured": measured,
        "saved_share": 1 - measured / len(surface),
        "not_finite": int((~finite).sum()),
        "center": surface.center,
        "has_center": center is not None,
        "minimum": _extreme(surface, np.where(finite, surface.losses, np.inf).argmin()),
        "maximum": _extreme(surface, np.where(finite, surface.losses, -np.inf).argmax()),
        "metrics": {}
        if center is None
        else {
            name: values[center] for name, values in surface.metrics.items() if not (adaptive and name == "measured")
        },
        "directions": {
            "kind": ", ".join(origin.get("order", [origin["directions"]])),
            "norms": origin["direction_norms"],
            "cosines": origin["direction_cosines"],
            "parameters_moved": origin["parameters_moved"],
            "parameters_total": origin["parameters_total"],
            "not_moved": [*origin.get("at_rest", ()), *origin.get("left_out", ())],
        },
        "anchors": anchors(origin),
        "seconds": seconds,
        "points_per_second": (measured - origin.get("resumed", 0)) / seconds,
        "resumed": origin.get("resumed", 0),
        "ranks": origin.get("ranks", 1),
        "engine": origin["engine"],
        "device": origin["device"],
    }


def anchors(origin: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the checkpoints that a line or plane goes through.

    Args:
        origin: Provenance of a surface.

    Returns:
        Their paths, coordinates and own losses; none for other surfaces.
    """
    if "anchor_losses" not in origin:
        return []
    rows = zip(origin["anchor_checkpoints"], origin["anchors"], origin["anchor_losses"], strict=True)
    return [{"checkpoint": name, "at": at, "loss": loss} for name, at, loss in rows]


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
    center = "not on the grid" if not record["has_center"] else f"{record['center']:.6g}"
    lines = [("loss", str(record["loss"])), ("center", center)]
    for name in ("minimum", "maximum"):
        extreme = record[name]
        if extreme is None:
            lines.append((name, "none, since no loss is finite"))
        else:
            lines.append((name, f"{extreme['loss']:.6g} at {_place(extreme['at'])}"))
    lines += [(name, f"{value:.6g} at the center") for name, value in record["metrics"].items()]
    if record["not_finite"]:
        lines.append(("not finite", f"{record['not_finite']} of {record['points']} losses"))
    lines += [
        ("through", f"{one['checkpoint']} at {_place(one['at'])}, loss {one['loss']:.6g}") for one in record["anchors"]
    ]
    lines.append(("directions", _directions(record["directions"])))
    resting = record["directions"]["not_moved"]
    if resting:
        more = f" and {len(resting) - NAMED} more" if len(resting) > NAMED else ""
        lines.append(("not moved", ", ".join(resting[:NAMED]) + more))
    if record["measured"] < record["points"]:
        left = record["points"] - record["measured"]
        lines.append(("adaptive", f"{left} of {record['points']} points saved ({record['saved_share']:.0%})"))
    rate = f"{record['points_per_second']:.3g} points/s"
    engine = f"{record['engine']} engine on {record['device']}"
    if record["ranks"] > 1:
        engine += f", {record['ranks']} processes"
    fresh = record["measured"] - record["resumed"]
    lines.append(("time", f"{record['seconds']:.2f} s for {fresh} points ({rate}), {engine}"))
    if record["resumed"]:
        lines.append(("resumed", f"{record['resumed']} points were measured before"))
    checkpoint = record["checkpoint"]
    prefix = [f"{checkpoint[what]!r} {what}" for what in ("stripped", "added") if checkpoint[what]]
    if prefix:
        lines.append(("prefix", " and ".join(prefix)))
    lines.append(("saved", record["out"]))
    return lines


def _place(coordinates: Sequence[float]) -> str:
    return f"({', '.join(f'{coordinate:.3g}' for coordinate in coordinates)})"


def _directions(told: Mapping[str, Any]) -> str:
    """Word kind, lengths and angles."""
    kind, norms, cosines = told["kind"], told["norms"], told["cosines"]
    pairs = [f"{cosines[i][j]:.3g}" for i in range(len(norms)) for j in range(i)]
    lengths = f"length {', '.join(f'{norm:.4g}' for norm in norms)}"
    angles = [f"cosine {', '.join(pairs)}"] if pairs else []
    moved = f"{told['parameters_moved']} of {told['parameters_total']} parameters"
    return ", ".join([kind, lengths, *angles, moved])
