"""What came out: the losses of an arm by seed, at a read-off point."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from .arms import KINDS
from .plan import Cell, Study
from .reading import Part, value
from .records import Record

SHARES = (0.25, 0.5, 1.0)


def runs(study: Study, cell: Cell) -> dict[int, Record]:
    """Give a cell's finished runs with fresh seeds, by seed."""
    found = {configuration.seed: study.runs.get(configuration) for configuration in study.final(cell)}
    return {seed: record for seed, record in found.items() if record is not None}


def cell_at(study: Study, workload: str, arm: str, share: float) -> Cell | None:
    """Give the cell whose runs answer for a share of the budget: its own horizon's, or the one that serves all.

    Args:
        study: What is compared.
        workload: Name.
        arm: Name.
        share: Of the budget.

    Returns:
        The cell, or None if the arm has none for that share.
    """
    entry = study.entries[arm]
    if not KINDS[entry.kind].knows_horizon:
        return study.cell(workload, arm)
    if share in entry.horizons:
        return study.cell(workload, arm, share)
    return study.cell(workload, arm) if share == 1.0 else None


def by_seed(
    study: Study, workload: str, arm: str, share: float = 1.0, part: Part = "test", name: str = "loss"
) -> dict[int, float]:
    """Give losses, or accuracies.

    Args:
        study: What is compared.
        workload: Name.
        arm: Name.
        share: Of the budget.
        part: Of the data.
        name: "loss" or "accuracy".

    Returns:
        Numbers by seed, as far as they are there; infinity for a run that diverged.
    """
    cell = cell_at(study, workload, arm, share)
    return {} if cell is None else of_cell(study, cell, share, part, name)


def of_cell(study: Study, cell: Cell, share: float = 1.0, part: Part = "test", name: str = "loss") -> dict[int, float]:
    """Give losses, or accuracies, of a cell by seed."""
    entry = study.entries[cell.arm]
    at = None if KINDS[entry.kind].knows_horizon else share
    return {seed: value(record, entry.weights, part, name, at) for seed, record in runs(study, cell).items()}


def common(first: dict[int, float], second: dict[int, float]) -> tuple[list[float], list[float]]:
    """Give the numbers of the seeds that both have, in the same order."""
    seeds = sorted(first.keys() & second.keys())
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def middle(values: Sequence[float]) -> float:
    """Give the median, where infinity is a value like others."""
    return median(values)
