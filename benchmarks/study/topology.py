"""Does topology say more than loss? Probe plain training runs, and ask whether persistence helps to foretell them.

python -m lrscape.benchmarks.study.topology [run] [--minutes 55] [--jobs 2] [--workloads …] [--out …]
python -m lrscape.benchmarks.study.topology report

The learning rates are those that the study has tuned.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from .__main__ import RESULTS
from .configuration import Configuration
from .plan import Study
from .pool import drain
from .records import Record, Records
from .topology_data import missing, run
from .topology_report import write
from .workloads import BUNDLED


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m lrscape.benchmarks.study.topology",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("command", nargs="?", choices=["run", "report"], default="run")
    made.add_argument("--workloads", nargs="+", metavar="NAME", choices=list(BUNDLED), default=list(BUNDLED))
    made.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    made.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this")
    made.add_argument("--rates", type=Path, default=RESULTS / "study", help="folder of the study that tuned the rates")
    made.add_argument("--out", type=Path, default=RESULTS / "topology", help="folder of the results")
    return made


def work(configuration: Configuration) -> Record:
    """Run one configuration in a worker."""
    return run(configuration, BUNDLED[configuration.workload])


def line(record: Record, elapsed: float, left: int) -> str:
    """Say in a line what a run gave."""
    probes = record["probes"]
    lower = sum(one["later"] is not None and one["later"] < (one["validation"] or 0) for one in probes)
    return (
        f"{elapsed / 60:6.1f} min  {left:4d} left  {record['workload']}  {record['kind']}  rate {record['rate']:.3g}"
        f"  seed {record['seed']}  {len(probes)} probes, validation lower after {lower}"
        f"{'  diverged' if record['diverged'] else ''}  {record['cpu']:.1f} s, probes {record['probes_cpu']:.1f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or report.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code: 1 if a run failed.
    """
    options = parser().parse_args(arguments)
    records = Records(options.out)
    if options.command == "report":
        for path in write([*records.runs.values()], options.out):
            print(path)
        return 0
    study = Study(
        {name: BUNDLED[name] for name in options.workloads},
        ("constant", "cosine"),
        Records(options.rates),
        seeds=tuple(range(options.seeds)),
    )

    def left() -> list[Configuration]:
        return missing(study, [*records.runs])

    failed = drain(
        left,
        work,
        records,
        jobs=options.jobs,
        minutes=options.minutes,
        say=lambda record, elapsed, _: line(record, elapsed, len(left())),
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
