"""Tables of the report, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .outcomes import SHARES, by_seed, common, middle, of_cell, runs
from .plan import Study
from .statistics import Paired, holm, paired


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table.

    Args:
        heads: Of the columns.
        rows: As many cells each.

    Returns:
        Lines, the last one ended.
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def number(value: float) -> str:
    """Write a loss with three significant digits or three decimals."""
    return (
        "diverged"
        if math.isinf(value)
        else "–"
        if math.isnan(value)
        else f"{value:.3g}"
        if value < 1
        else f"{value:.3f}"
    )


def spread(values: Sequence[float]) -> str:
    """Write a median, and the range in brackets."""
    if not values:
        return "–"
    return f"{number(middle(values))} ({number(min(values))}–{number(max(values))})"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.0f} %"


def workloads(study: Study) -> str:
    """Say what was trained."""
    rows = [
        [
            name,
            about.description,
            f"{'AdamW' if about.optimizer == 'adamw' else 'SGD, momentum .9'}",
            f"{about.steps} × {about.batch}",
            "yes" if about.developed_on else "no",
        ]
        for name, about in study.workloads.items()
    ]
    return table(["workload", "what", "base optimizer", "steps × batch", "our defaults developed on it"], rows)


def losses(study: Study, share: float, name: str = "loss") -> str:
    """Give test losses (or accuracies) at a read-off point: median and range over seeds, the best in bold."""
    found = {
        (arm, workload): list(by_seed(study, workload, arm, share, name=name).values())
        for arm in study.arms
        for workload in study.workloads
    }
    best = min if name == "loss" else max
    leaders = {}
    for workload in study.workloads:
        medians = {arm: middle(found[arm, workload]) for arm in study.arms if found[arm, workload]}
        leaders[workload] = best(medians, key=lambda arm: medians[arm]) if medians else None
    rows = []
    for arm in study.arms:
        cells = [spread(found[arm, workload]) for workload in study.workloads]
        if any(found[arm, workload] for workload in study.workloads):
            marked = [
                f"**{cell}**" if leaders[workload] == arm else cell
                for cell, workload in zip(cells, study.workloads, strict=True)
            ]
            rows.append([study.entries[arm].title, *marked])
    return table([f"test {name} at {percent(share)}", *study.workloads], rows)


def comparisons(study: Study, ours: str, theirs: str) -> dict[tuple[str, float], Paired]:
    """Compare two arms on every workload and at every read-off point where both have runs."""
    found = {}
    for workload in study.workloads:
        for share in SHARES:
            pair = common(by_seed(study, workload, ours, share), by_seed(study, workload, theirs, share))
            if pair[0]:
                found[workload, share] = paired(*pair)
    return found


def versus(study: Study, ours: str, theirs: str) -> str:
    """Compare two arms in detail; p-values are corrected for all rows of the table."""
    found = comparisons(study, ours, theirs)
    corrected = holm([entry.p for entry in found.values()])
    rows = [
        [
            workload,
            percent(share),
            str(entry.n),
            f"{entry.ratio:.3f}",
            f"{entry.worst:.3f}",
            f"{entry.difference:+.4f} [{entry.low:+.4f}, {entry.high:+.4f}]",
            f"{p:.2g}",
        ]
        for ((workload, share), entry), p in zip(found.items(), corrected, strict=True)
    ]
    heads = [
        "workload",
        "read off at",
        "seeds",
        "median ratio",
        "worst ratio",
        "mean difference, 95 % interval",
        "p (Holm)",
    ]
    return table(heads, rows)


def targets(study: Study, ours: str, theirs: str) -> str:
    """Say which of the targets set beforehand were met."""
    found = comparisons(study, ours, theirs)
    if not found:
        return "There are no runs to compare yet.\n"
    within = sum(entry.ratio <= 1.02 for entry in found.values())
    better = sum(entry.ratio < 1 for entry in found.values())
    worst = max(found, key=lambda cell: found[cell].worst)
    met = {True: "met", False: "missed"}
    rows = [
        ["median ratio ≤ 1.02 everywhere", f"{within} of {len(found)}", met[within == len(found)]],
        ["median ratio < 1 on at least half", f"{better} of {len(found)}", met[2 * better >= len(found)]],
        [
            "no seed beyond 1.05",
            f"worst {found[worst].worst:.3f} ({worst[0]}, {percent(worst[1])})",
            met[found[worst].worst <= 1.05],
        ],
    ]
    return table([f"{study.entries[ours].title} against {study.entries[theirs].title}", "found", "target"], rows)


def duels(study: Study, ours: str) -> str:
    """Give the median ratio of an arm to every other, at the end of the budget."""
    rows = []
    for arm in study.arms:
        found = {workload: entry for (workload, share), entry in comparisons(study, ours, arm).items() if share == 1.0}
        if arm == ours or not found:
            continue
        corrected = dict(zip(found, holm([entry.p for entry in found.values()]), strict=True))
        cells = [
            f"{found[workload].ratio:.3f}{'*' if corrected[workload] < 0.05 else ''}" if workload in found else "–"
            for workload in study.workloads
        ]
        wins = sum(entry.ratio < 1 for entry in found.values())
        rows.append([study.entries[arm].title, *cells, f"{wins} of {len(found)}"])
    title = study.entries[ours].title
    return table([f"median of {title} / arm", *study.workloads, f"{title} lower on"], rows)


def variants(study: Study, ours: str, theirs: str) -> str:
    """Compare an arm's runs at other batch sizes with those of another arm tuned for them."""
    rows = []
    for workload, about in study.workloads.items():
        for batch in about.batches:
            cells = [study.cell(workload, arm, batch=batch) for arm in (ours, theirs)]
            pair = common(of_cell(study, cells[0]), of_cell(study, cells[1]))
            if pair[0]:
                entry = paired(*pair)
                values = [number(middle(losses)) for losses in pair]
                rows.append([
                    workload,
                    str(batch),
                    str(cells[0].steps),
                    *values,
                    f"{entry.ratio:.3f}",
                    f"{entry.worst:.3f}",
                ])
    titles = [study.entries[arm].title for arm in (ours, theirs)]
    return table(["workload", "batch", "steps", *titles, "median ratio", "worst ratio"], rows)


def changed(study: Study, arms: Sequence[str], theirs: str) -> str:
    """Compare arms that differ from ours in one option with another arm, at the end of the budget.

    Args:
        study: What is compared.
        arms: Names; those that are not part of the study are left out.
        theirs: Name.

    Returns:
        A table; its last column is the share of the budget that the ascent took.
    """
    rows = []
    for arm in arms:
        for workload in study.workloads if arm in study.arms else ():
            pair = common(by_seed(study, workload, arm), by_seed(study, workload, theirs))
            if pair[0]:
                entry = paired(*pair)
                found = runs(study, study.cell(workload, arm)).values()
                ascent = middle([run["ascent"] / run["steps"] for run in found])
                title = study.entries[arm].title
                rows.append([
                    title,
                    workload,
                    number(middle(pair[0])),
                    f"{entry.ratio:.3f}",
                    f"{entry.worst:.3f}",
                    percent(ascent),
                ])
    against = study.entries[theirs].title
    return table(["arm", "workload", "test loss", f"median of arm / {against}", "worst", "ascent"], rows)
