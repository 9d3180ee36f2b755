"""The probes of all runs as a table: what a model may look at, and what it shall foretell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .records import Record

RELATIVE, ABSOLUTE = 1e-6, 1e-9  # what stands for no length at all where logarithms are taken
SCALE = 0.1  # sharpness below which TopoLR's published rule says flat: about there asinh turns from linear to log

BASE = ("loss", "sharpness", "roughness")
OTHERS = ("variance", "curvature", "near border", "near roughness", "wide border", "wide roughness")
TIME = ("rate", "share")
SUMMARIES = ("pairs", "total", "largest", "entropy", "total/loss", "largest/loss")


def pairs(span: str) -> tuple[str, ...]:
    """Name the numbers of the finite pairs on a square."""
    return tuple(f"{span} {homology} {summary}" for homology in ("h0", "h1") for summary in SUMMARIES)


def essential(span: str) -> tuple[str, ...]:
    """Name the numbers of the essential class on a square."""
    return f"{span} below", f"{span} above"


TOPOLOGY = (*pairs("near"), *pairs("wide"), *essential("near"), *essential("wide"))


@dataclass(frozen=True, eq=False)
class Rows:
    """Probes.

    Attributes:
        numbers: By name, each of shape (N,), transformed to scales on which a linear model makes sense.
        lower: Whether the validation loss was lower 100 steps later, shape (N,).
        workload: Names, shape (N,).
        seed: Shape (N,).
        run: Number of the run, shape (N,).
        left_out: Probes left out as a number was not finite.
    """

    numbers: dict[str, NDArray[np.float64]]
    lower: NDArray[np.bool_]
    workload: NDArray[np.str_]
    seed: NDArray[np.intp]
    run: NDArray[np.intp]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def workloads(self) -> list[str]:
        """Names of the workloads, in the order in which they come."""
        return list(dict.fromkeys(self.workload.tolist()))

    def matrix(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Put numbers side by side, shape (N, len(names))."""
        return np.stack([self.numbers[name] for name in names], axis=1) if names else np.empty((len(self), 0))

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Keep some of the probes."""
        return Rows(
            {name: values[chosen] for name, values in self.numbers.items()},
            self.lower[chosen],
            self.workload[chosen],
            self.seed[chosen],
            self.run[chosen],
            self.left_out,
        )


def indicators(rows: Rows) -> tuple[str, ...]:
    """Name the numbers that say which workload it is."""
    return tuple(f"is {workload}" for workload in rows.workloads)


def rows_of(records: Iterable[Record]) -> Rows:
    """Read the probes of finished runs.

    Args:
        records: What :func:`lrscape.benchmarks.study.topology_data.run` gave.

    Returns:
        The table; a probe whose validation loss, or any of whose numbers, is not finite is left out and counted.

    Raises:
        ValueError: If no probe is left.
    """
    numbers: list[dict[str, float]] = []
    labels: list[tuple[bool, str, int, int]] = []
    left_out = 0
    for at, record in enumerate(records):
        for one in record["probes"]:
            found = None if one["validation"] is None else read(one, record["steps"])
            if found is None:
                left_out += 1
                continue
            numbers.append(found)
            fell = one["later"] is not None and one["later"] < one["validation"]
            labels.append((fell, record["workload"], record["seed"], at))
    if not numbers:
        raise ValueError("there are no probes to learn from: run the runs first")
    lower, workload, seed, run = (np.array(column) for column in zip(*labels, strict=True))
    columns = {name: np.array([one[name] for one in numbers]) for name in numbers[0]}
    columns |= {f"is {name}": (workload == name).astype(float) for name in dict.fromkeys(workload.tolist())}
    return Rows(columns, lower, workload, seed, run, left_out)


def read(one: dict[str, Any], steps: int) -> dict[str, float] | None:
    """Read one probe, or None if a number in it is not finite."""
    if any(value is None for value in flat(one)):
        return None
    loss = max(one["loss"], ABSOLUTE)
    found = {
        "loss": math.log(loss),
        "sharpness": math.asinh(one["sharpness"] / SCALE),
        "roughness": math.log(one["roughness"] + ABSOLUTE),
        "variance": math.log(one["variance"] + RELATIVE),
        "curvature": math.asinh(one["curvature"]),
        "rate": math.log(max(one["rate"], ABSOLUTE)),
        "share": one["step"] / steps,
    }
    for span in ("near", "wide"):
        plane = one[span]
        found[f"{span} border"] = math.log(max(plane["border"] / loss, RELATIVE))
        found[f"{span} roughness"] = plane["relative_roughness"]
        found[f"{span} below"] = math.log(loss / max(plane["lowest"], RELATIVE * loss))
        found[f"{span} above"] = math.log(max(plane["highest"], loss) / loss)
        for homology in ("h0", "h1"):
            bars, name = plane[homology], f"{span} {homology}"
            found[f"{name} pairs"] = math.log1p(bars["pairs"])
            found[f"{name} entropy"] = bars["entropy"]
            for summary in ("total", "largest"):
                found[f"{name} {summary}"] = math.log(bars[summary] + ABSOLUTE)
                found[f"{name} {summary}/loss"] = math.log(bars[summary] / loss + RELATIVE)
    return found


def flat(numbers: dict[str, Any]) -> list[float | None]:
    """List what nested dictionaries hold, but for the later loss, of which being not finite is an answer."""
    found: list[float | None] = []
    for name, value in numbers.items():
        if isinstance(value, dict):
            found += flat(value)
        elif name != "later":
            found.append(value)
    return found
