"""Tables about learning rates: which were tuned or found, how they were chosen, and what a wrong one costs."""

from __future__ import annotations

import math

from .outcomes import middle, runs
from .plan import WRONG, Cell, Study
from .reading import loss
from .tables import number, percent, table


def sensitivity(study: Study) -> str:
    """Give test losses at wrong rates, divided by those at the tuned rate; medians over the tuning seeds."""
    rows = []
    for arm in study.arms:
        for workload in study.workloads if study.entries[arm].sensitivity else ():
            points = at_wrong_rates(study, study.cell(workload, arm))
            if points:
                right = points[1.0]
                cells = ["diverged" if math.isinf(points[f]) else f"{points[f] / right:.2f}" for f in WRONG]
                rows.append([study.entries[arm].title, workload, number(right), *cells])
    heads = ["arm", "workload", "test loss at its rate", "rate ÷ 16", "÷ 4", "× 4", "× 16"]
    return table(heads, rows)


def at_wrong_rates(study: Study, cell: Cell) -> dict[float, float]:
    """Give median test losses by factor on the tuned rate, where all are there."""
    settled, rate = study.rate(cell)
    if not settled or rate is None:
        return {}
    found = {}
    for factor in sorted([*WRONG, 1.0]):
        records = [study.runs.get(study.configuration(cell, rate * factor, seed)) for seed in study.tuning_seeds]
        there = [loss(record, study.entries[cell.arm].weights, "test") for record in records if record is not None]
        if len(there) == len(records):
            found[factor] = middle(there)
    return found if found.keys() >= {1.0, *WRONG} else {}


def rates(study: Study) -> str:
    """Give the rates that were tuned or found."""
    rows = []
    for arm in study.arms:
        entry = study.entries[arm]
        for horizon in entry.horizons:
            title = entry.title if horizon == entry.horizons[0] else f"{entry.title}, {percent(horizon)}"
            rows.append([title, *(rate_of(study, study.cell(name, arm, horizon)) for name in study.workloads)])
    return table(["learning rate", *study.workloads], rows)


def rate_of(study: Study, cell: Cell) -> str:
    """Write a cell's rate: tuned, found by the runs themselves, or given."""
    settled, rate = study.rate(cell)
    if not settled:
        return "–"
    if rate is None:
        found = [run["rate_found"] for run in runs(study, cell).values() if run.get("rate_found") is not None]
        return f"finds {middle(found):.2g} ({min(found):.2g}–{max(found):.2g})" if found else "–"
    if not isinstance(study.entries[cell.arm].rate, str):
        return f"{rate:g}"
    search = study.search(cell)
    return f"{rate:.2g}{'' if search is not None and search.found else ', at the edge'}"


def searches(study: Study) -> str:
    """Give the validation losses on which rates were chosen."""
    rows = []
    for workload in study.workloads:
        for arm in study.arms:
            entry = study.entries[arm]
            for horizon in entry.horizons if isinstance(entry.rate, str) else ():
                cell = study.cell(workload, arm, horizon)
                search = study.search(cell)
                if search is not None and search.best is not None:
                    tried = {rate: study.validation(cell, rate) for rate in search.rates}
                    words = ", ".join(
                        f"{rate:.2g}: {number(math.nan if v is None else v)}" for rate, v in tried.items()
                    )
                    rows.append([workload, entry.title, percent(horizon), words])
    return table(["workload", "arm", "horizon", "validation loss by rate"], rows)
