"""What a run costs."""

from __future__ import annotations

from .outcomes import cell_at, middle, runs
from .plan import Study
from .records import Record
from .tables import table


def after_ascent(run: Record) -> float:
    """Give the scheduler's share of a run's processor time, leaving out the ascent where there is one.

    Args:
        run: Finished.

    Returns:
        Seconds of the scheduler over all others.
    """
    ascent = run.get("ascent", 0)
    start = next((mark for mark in run["marks"] if ascent and mark["step"] >= ascent), {"arm_cpu": 0.0, "cpu": 0.0})
    arm, every = (float(run[name] - start[name]) for name in ("arm_cpu", "cpu"))
    return arm / (every - arm) if every > arm else 0.0


def share_of_time(study: Study, arm: str, workload: str) -> float | None:
    """Give the median over seeds of the scheduler's processor time over all other, of arms that decide something.

    Args:
        study: What is compared.
        arm: Name.
        workload: Name.

    Returns:
        The share, or None if there are no such runs.
    """
    cell = cell_at(study, workload, arm, 1.0)
    there = [] if cell is None else [run for run in runs(study, cell).values() if "decisions" in run]
    return middle([run["arm_cpu"] / (run["cpu"] - run["arm_cpu"]) for run in there]) if there else None


def costs(study: Study) -> str:
    """Give medians over the runs at the full horizon that ended.

    Args:
        study: What is compared.

    Returns:
        A table.
    """
    rows = []
    for arm in study.arms:
        for workload in study.workloads:
            cell = cell_at(study, workload, arm, 1.0)
            there = [] if cell is None else [run for run in runs(study, cell).values() if not run["diverged"]]
            if there:
                shares = [
                    middle([run[f"arm_{kind}"] / (run[kind] - run[f"arm_{kind}"]) for run in there])
                    for kind in ("wall", "cpu")
                ]
                apart = middle([after_ascent(run) for run in there])
                forward = middle([run["forward_passes"] / run["backward_passes"] for run in there])
                rows.append([
                    study.entries[arm].title,
                    workload,
                    f"{middle([run['wall'] for run in there]):.1f} s",
                    *(f"{100 * share:.1f} %" for share in [*shares, apart]),
                    f"{forward:.2f}",
                    f"{there[0]['backward_passes']}",
                ])
    heads = [
        "arm", "workload", "wall-clock", "scheduler / rest, wall-clock", "the same, processor time",
        "the same, after the ascent", "forward per backward pass", "backward passes",
    ]  # fmt: skip
    return table(heads, rows)
