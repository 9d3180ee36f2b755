"""Compare schedulers on real data, rates tuned on validation and losses read on test; resumable, one line per run.

python -m lrscape.benchmarks.study [--minutes 55] [--workloads …] [--arms …] [--seeds 5] [--jobs 2] [--data-dir …]
python -m lrscape.benchmarks.study plan      what is missing, and how long it takes
python -m lrscape.benchmarks.study report    tables and figures from the finished runs
python -m lrscape.benchmarks.study cifar     Table 1 of TopoAdamW, for whoever has CIFAR; see cifar --help
python -m lrscape.benchmarks.study --quick   everything on a tiny budget, into another folder, in under 5 minutes
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from .arms import ARMS, Group, missing
from .configuration import Configuration
from .estimate import estimate
from .plan import Study
from .pool import execute
from .records import Records
from .report import write
from .table_one import command as table_one
from .workloads import workloads

RESULTS = Path(__file__).parent.parent / "results"
QUICK = {"seeds": (0, 1), "tuning_seeds": (1000,), "most": 12, "extend": False}


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m lrscape.benchmarks.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("command", nargs="?", choices=["run", "plan", "report"], default="run")
    made.add_argument("--workloads", nargs="+", metavar="NAME", help="by default all, CIFAR's with --data-dir")
    made.add_argument("--arms", nargs="+", metavar="NAME", choices=sorted(ARMS), help=f"of {', '.join(ARMS)}")
    made.add_argument(
        "--groups", nargs="+", choices=get_args(Group), help="of the arms; by default all, with --quick the schedulers"
    )
    made.add_argument("--seeds", type=int, default=5, help="how many fresh ones (default: 5)")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    made.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this")
    made.add_argument("--quick", action="store_true", help="tiny budgets and two seeds, to see that everything runs")
    made.add_argument("--data-dir", type=Path, help="folder with the Python version of CIFAR-10, CIFAR-100 or both")
    made.add_argument("--device", default="cpu", help="where CIFAR is trained (default: cpu)")
    made.add_argument("--out", type=Path, help="folder of the results")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, estimate or report.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code: 1 if a run failed.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["cifar"]:
        return table_one.main(given[1:])
    options = parser().parse_args(given)
    known = workloads(options.data_dir, options.device)
    names = list(known) if options.workloads is None else options.workloads
    if unknown := [name for name in names if name not in known]:
        parser().error(f"--workloads knows {', '.join(known)}, got {', '.join(unknown)}")
    absent = missing()
    if options.arms is not None and (wanting := [name for name in options.arms if name in absent]):
        parser().error("; ".join(f"{name} needs {absent[name]}" for name in wanting))
    groups = options.groups or (("schedulers",) if options.quick else get_args(Group))
    arms = [name for name in ARMS if name not in absent and ARMS[name].group in groups]
    arms = arms if options.arms is None else options.arms
    out = options.out or RESULTS / ("study-quick" if options.quick else "study")
    records = Records(out)
    changes: dict[str, Any] = QUICK if options.quick else {"seeds": tuple(range(options.seeds))}
    study = Study({name: known[name] for name in names}, arms, records, **changes)
    for name in absent if options.arms is None else ():
        print(f"without {name}: it needs {absent[name]}")
    failed: dict[Configuration, str] = {}
    if options.command == "run":
        failed = execute(
            study,
            records,
            jobs=options.jobs,
            minutes=options.minutes,
            data=options.data_dir,
            device=options.device,
        )
    if options.command == "report" or (options.quick and options.command == "run"):
        for path in write(study, out):
            print(path)
    else:
        tell(study, options.jobs)
    return 1 if failed else 0


def tell(study: Study, jobs: int) -> None:
    """Print what is missing and how long it would take.

    Args:
        study: What is compared.
        jobs: Processes.
    """
    total_runs, total_seconds = 0, 0.0
    print(f"still to run, with tuning on seeds {study.tuning_seeds} (the number of rates it needs is a guess):")
    for stage, cells in estimate(study).items():
        for workload, (runs, seconds) in cells.items():
            print(f"{stage:28s}  {workload:18s}  {runs:4d} runs  {seconds / 60:6.1f} min on one core")
            total_runs, total_seconds = total_runs + runs, total_seconds + seconds
    print(
        f"in all {total_runs} runs, {total_seconds / 60:.0f} min on one core, {total_seconds / 60 / jobs:.0f} on {jobs}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
