"""The report: what was asked, what came out, and what it cost, written from the finished runs alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import cost_tables, evidence, figures, rate_tables, tables
from .outcomes import SHARES, cell_at, runs
from .plan import Study

OURS, REFERENCE = "valley", "cosine"
RIVALS = ("schedule-free", "prodigy")
CHANGED = ("valley-fast", "valley-slow", "valley-low")


def write(study: Study, folder: Path) -> list[Path]:
    """Write ``report.md`` on the schedulers, ``evidence.md`` on systems and ablations, and their figures.

    Args:
        study: What is compared, with its runs.
        folder: Where to.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = evidence.write(study, folder)
    study = study.restricted(several=False)
    compared = [arm for arm in study.arms if study.entries[arm].group == "schedulers"]
    if not compared:
        return others
    study = replace(study, arms=compared)
    drawn = [
        figures.draw_losses(study, folder / "losses.svg"),
        figures.draw_sensitivity(study, folder / "sensitivity.svg"),
    ]
    text = folder / "report.md"
    text.write_text("\n".join(sections(study)), encoding="utf-8")
    return [text, *drawn, *others]


def sections(study: Study) -> list[str]:
    """Give the report's sections.

    Args:
        study: What is compared, with its runs.

    Returns:
        Markdown.
    """
    has = set(study.arms).issuperset
    parts = ["# Schedulers compared\n", method(study), tables.workloads(study)]
    if has({OURS, REFERENCE}):
        title = f"{study.entries[OURS].title} against {study.entries[REFERENCE].title} tuned for each horizon"
        parts += [f"## {title}\n", tables.targets(study, OURS, REFERENCE), tables.versus(study, OURS, REFERENCE)]
    for rival in RIVALS if has({OURS}) else ():
        if has({rival}):
            title = f"{study.entries[OURS].title} against {study.entries[rival].title}"
            parts += [f"## {title}\n", tables.versus(study, OURS, rival)]
    parts += ["## All arms\n", "![Test losses at the read-off points](losses.svg)\n"]
    parts += [tables.losses(study, share) for share in reversed(SHARES)]
    parts.append(tables.losses(study, 1.0, "accuracy"))
    if has({OURS}):
        parts += ["\\* p < .05 after Holm's correction over the workloads.\n", tables.duels(study, OURS)]
    parts += [
        "## Wrong learning rates\n",
        "![Test losses at wrong rates](sensitivity.svg)\n",
        rate_tables.sensitivity(study),
    ]
    if has({OURS, REFERENCE}):
        parts += ["## Other speeds and starts\n", tables.changed(study, [OURS, *CHANGED], REFERENCE)]
        parts += ["## Other batch sizes\n", tables.variants(study, OURS, REFERENCE)]
    parts += ["## Rates tuned and found\n", rate_tables.rates(study), "## What it cost\n", cost_tables.costs(study)]
    return [*parts, "## How the rates were chosen\n", rate_tables.searches(study)]


def method(study: Study) -> str:
    """Say how the numbers came about, and whether runs are missing."""
    there = [
        run
        for arm in study.arms
        for workload in study.workloads
        for share in SHARES
        if (cell := cell_at(study, workload, arm, share)) is not None
        for run in runs(study, cell).values()
    ]
    versions = sorted({f"{name} {version}" for run in there for name, version in run["versions"].items()})
    dates = sorted({run["date"] for run in there})
    pending = sum(1 for _ in study.pending())
    missing = (
        f"At least {pending} runs are still missing, and their cells with them." if pending else "All runs are there."
    )
    bracketed = "until the best one lies between two worse ones" if study.extend else "three rates in all"
    return (
        f"Rates are tuned on validation data, on a grid of factors of two, with seeds {list(study.tuning_seeds)}, "
        f"{bracketed}; then seeds {list(study.seeds)} are run at that rate and read on test data. Arms share weights, "
        "data order and label noise for a seed. Arms that must know the horizon are tuned and run anew for each "
        "read-off point; the others are tuned for the whole budget and one run serves all points. Losses are medians "
        "over seeds, with the smallest and the largest in brackets; intervals are percentile bootstraps of the mean "
        "paired difference; p-values are of paired t-tests on log losses, corrected by Holm's "
        f"method over the rows of a table. {missing}\n\n"
        f"Runs of {' to '.join(dict.fromkeys([*dates[:1], *dates[-1:]]))}; {', '.join(versions)}; one thread each.\n"
    )
