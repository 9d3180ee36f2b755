"""The report on systems and ablations: what each changes, compared with what it was added to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .cost_tables import share_of_time
from .forest import draw
from .outcomes import SHARES, by_seed, common
from .plan import Study
from .pooled import Pooled, pooled
from .statistics import holm, paired
from .tables import losses, percent, table

OURS = ("topo", "topo-published", "topocnn", "valley", "plateau", "schedule-free")  # compared elsewhere, and here too
SIGNIFICANT = 0.05
STAR = "\\*"


def write(study: Study, folder: Path) -> list[Path]:
    """Write ``evidence.md`` and its figures, if there is anything to report.

    Args:
        study: What is compared, with its runs.
        folder: Where to.

    Returns:
        The files.
    """
    systems = [arm for arm in study.arms if study.entries[arm].group == "systems"]
    ablations = [arm for arm in study.arms if study.entries[arm].group == "ablations"]
    if not systems and not ablations:
        return []
    systems = [arm for arm in OURS if arm in study.arms] + systems
    text = folder / "evidence.md"
    text.write_text("\n".join(sections(study, systems, ablations)), encoding="utf-8")
    study = study.restricted(several=False)
    drawn = [draw(study, systems, folder / "systems.svg"), draw(study, ablations, folder / "ablations.svg")]
    return [text, *filter(None, drawn)]


def sections(study: Study, systems: Sequence[str], ablations: Sequence[str]) -> list[str]:
    """Give the report's sections.

    Args:
        study: What is compared, with its runs.
        systems: Names.
        ablations: Names.

    Returns:
        Markdown.
    """
    groups = {study.entries[arm].group for arm in (*systems, *ablations)}
    missing = sum(1 for title, _ in study.pending() if title in groups)
    there = (
        f"At least {missing} runs are still missing, and their cells with them." if missing else "All runs are there."
    )
    about = (
        "Test losses as ratios to those of another arm with the same seeds: below 1 is better. Over all workloads it "
        "is the geometric mean, with a 95 % bootstrap interval over seeds; on each workload the median over seeds; "
        "\\* is p < .05 in a paired t-test on log losses after Holm's correction over the whole table. "
    )
    tasks, study = study.restricted(several=True), study.restricted(several=False)
    weighing = [arm for arm in systems if any(tasks.runs_on(arm, name) for name in tasks.workloads)]
    return [
        "# Systems and ablations\n",
        f"{about}{there}\n",
        "## Over all workloads\n",
        "![Systems against a constant rate](systems.svg)\n",
        summary(study, systems),
        "## On each workload, at the end of the budget\n",
        by_workload(study, systems),
        "## Ablations\n",
        "![Ablations against what they change](ablations.svg)\n",
        by_workload(study, ablations, "against"),
        "## Scheduler's time\n",
        "Processor time of probes and decisions over that of everything else in the same run, medians over seeds.\n",
        times(study, [*systems, *ablations]),
        *(["## Several tasks\n", several(tasks, ["constant", "cosine", *weighing])] if weighing else []),
    ]


def interval(found: Pooled | None, workloads: int) -> str:
    """Write a pooled ratio."""
    if found is None:
        return "–"
    if found.diverged:
        return f"{found.diverged} diverged"
    partly = "" if len(found.medians) == workloads else f", {len(found.medians)} workloads"
    return f"{found.ratio:.3f} [{found.low:.3f}, {found.high:.3f}]{partly}"


def summary(study: Study, arms: Sequence[str]) -> str:
    """Compare systems with what they were added to, and with the cosine tuned for each horizon."""
    rows = []
    for arm in arms:
        entry = study.entries[arm]
        known = [pooled(study, arm, other, share) for other in (entry.against, "cosine") for share in reversed(SHARES)]
        if any(known):
            count = len([name for name in study.workloads if study.runs_on(arm, name)])
            first = known[0]
            wins = "–" if first is None else f"{first.lower} of {len(first.medians)}"
            rows.append([entry.title, *(interval(found, count) for found in known), wins])
    heads = [f"/ {other} at {percent(share)}" for other in ("constant", "cosine") for share in reversed(SHARES)]
    return table(["system", *heads, "lower than constant on"], rows)


def by_workload(study: Study, arms: Sequence[str], named: str = "") -> str:
    """Give the median ratio on each workload at the end of the budget.

    Args:
        study: What is compared.
        arms: Names.
        named: Head of a column that says what each is compared with; by default there is none.

    Returns:
        A table.
    """
    found = {
        (arm, workload): paired(*pair)
        for arm in arms
        for workload in study.workloads
        if (pair := common(by_seed(study, workload, arm), by_seed(study, workload, study.entries[arm].against)))[0]
    }
    corrected = dict(zip(found, holm([entry.p for entry in found.values()]), strict=True))
    rows = []
    for arm in arms:
        cells = [
            f"{found[arm, workload].ratio:.3f}{STAR if corrected[arm, workload] < SIGNIFICANT else ''}"
            if (arm, workload) in found
            else "–"
            for workload in study.workloads
        ]
        if any(cell != "–" for cell in cells):
            entry = study.entries[arm]
            rows.append([
                entry.title,
                *([study.entries[entry.against].title] if named else []),
                *cells,
                interval(pooled(study, arm, entry.against), len([cell for cell in cells if cell != "–"])),
            ])
    return table(["arm", *([named] if named else []), *study.workloads, "all"], rows)


def several(study: Study, arms: Sequence[str]) -> str:
    """Give test losses, their ratios to the constant rate's and accuracies where one model has several tasks."""
    ratios = by_workload(study, [arm for arm in arms if study.entries[arm].group == "systems"])
    study = replace(study, arms=[arm for arm in arms if arm in study.arms])
    return "\n".join([losses(study, 1.0), losses(study, 1.0, "accuracy"), ratios])


def times(study: Study, arms: Sequence[str]) -> str:
    """Give the scheduler's share of the time on each workload, for arms that have a scheduler of ours."""
    rows = []
    for arm in arms:
        cells = [share_of_time(study, arm, workload) for workload in study.workloads]
        if any(cell is not None for cell in cells):
            rows.append([study.entries[arm].title, *("–" if cell is None else f"{100 * cell:.1f} %" for cell in cells)])
    return table(["arm", *study.workloads], rows)
