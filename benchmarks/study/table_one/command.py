"""Make Table 1 of Peng, "TopoAdamW" (2026 draft), from CIFAR-10, CIFAR-100 or both; resumable, one line per run.

python -m lrscape.benchmarks.study cifar --data-dir D [--seeds 5] [--device cuda] [--minutes 55]

D holds the files of the Python versions, or the folders that they unpack to. The table, a figure and the runs go to one
folder; runs that are there are not run again, and --minutes 0 only writes the table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ..configuration import Configuration
from ..pool import drain
from ..records import Record, Records
from ..workloads.cifar import present
from .epochs import run
from .protocol import ARMS, EPOCHS, Source
from .readings import last, seconds
from .report import write

RESULTS = Path(__file__).parent.parent.parent / "results"


def at_least_one(text: str) -> int:
    """Read a positive number."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog="python -m lrscape.benchmarks.study cifar",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data-dir", type=Path, required=True, help="folder with CIFAR-10, CIFAR-100 or both")
    made.add_argument("--epochs", type=at_least_one, help="by default the paper's: 50 for CIFAR-10, 100 for CIFAR-100")
    made.add_argument("--seeds", type=at_least_one, default=5, help="how many (default: 5)")
    made.add_argument("--arms", nargs="+", metavar="NAME", choices=list(ARMS), default=list(ARMS), help=", ".join(ARMS))
    made.add_argument("--device", default="cpu", help="where to train (default: cpu)")
    made.add_argument("--jobs", type=at_least_one, help="processes (default: one per core on the cpu, one elsewhere)")
    made.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this")
    made.add_argument(
        "--limit", type=at_least_one, help="use only the first so many training and test images, as a trial"
    )
    made.add_argument("--out", type=Path, help="folder of the results")
    return made


def find(data: Path) -> list[int]:
    """Look which data sets are there.

    Args:
        data: The folder.

    Returns:
        Of 10 and 100, those whose files are all there.

    Raises:
        FileNotFoundError: If one has only some of its files, or neither has any.
    """
    looked = {classes: present(data, classes) for classes in EPOCHS}
    torn = {classes: entry for classes, entry in looked.items() if entry[1] and entry[2]}
    if torn:
        told = "; ".join(
            f"CIFAR-{classes} lacks {', '.join(entry[2])} in {entry[0]}" for classes, entry in torn.items()
        )
        raise FileNotFoundError(f"{told}. Unpack the Python version again, or move what is left of it away")
    found = [classes for classes, entry in looked.items() if not entry[2]]
    if not found:
        wanted = " nor ".join(f"{', '.join(entry[2])} (CIFAR-{classes})" for classes, entry in looked.items())
        raise FileNotFoundError(
            f"{data} must hold CIFAR's Python version, but there are neither {wanted}, nor in its folders "
            f"{' and '.join(entry[0].name for entry in looked.values())}. Unpack cifar-10-python.tar.gz or "
            "cifar-100-python.tar.gz there (https://www.cs.toronto.edu/~kriz/cifar.html)"
        )
    return found


def say(record: Record, elapsed: float, count: int) -> str:
    """Say in a line what a run gave."""
    return (
        f"{elapsed / 60:6.1f} min  {count:4d}  {record['workload']}  {record['kind']}  seed {record['seed']}  "
        f"accuracy {100 * last(record, 'accuracy'):.2f} %  loss {last(record, 'loss'):.4f}  {seconds(record):.0f} s"
    )


def main(arguments: Sequence[str]) -> int:
    """Run what is missing, and write the table.

    Args:
        arguments: Of the command line, without the command's name.

    Returns:
        The exit code: 1 if a run failed.
    """
    options = parser().parse_args(arguments)
    try:
        torch.zeros(1, device=options.device)
        found = find(options.data_dir)
    except FileNotFoundError as error:
        parser().error(f"--data-dir: {error}")
    except (RuntimeError, AssertionError) as error:  # what torch raises without the device
        parser().error(f"--device {options.device} cannot be used: {error}")
    source = Source(options.data_dir, options.device, options.limit)
    tables = [source.table(classes, options.epochs, options.seeds, options.arms) for classes in found]
    out = options.out or RESULTS / ("cifar" if options.limit is None else f"cifar-first-{options.limit}")
    records = Records(out)

    wanted = [configuration for table in tables for configuration in table.configurations()]

    def pending() -> list[Configuration]:
        return [configuration for configuration in wanted if records.get(configuration) is None]

    names = " and ".join(f"CIFAR-{classes}" for classes in found)
    print(f"{names}: {len(pending())} of {len(wanted)} runs to do")
    failed = drain(
        pending,
        partial(run, source=source, tables={table.workload: table for table in tables}),
        records,
        jobs=options.jobs or (os.cpu_count() or 1 if options.device == "cpu" else 1),
        minutes=options.minutes,
        say=say,
    )
    for path in write(tables, records, out, options.limit):
        print(path)
    return 1 if failed else 0
