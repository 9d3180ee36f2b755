"""Compare the cost of a point, ours and other packages', with a bare forward pass, and print tables in Markdown.

    python -m lrscape.benchmarks.engine [--rounds 5] [--python PYTHON] [--peers PYTHON] [--landscaper PYTHON] [--ranks]

Every cell is a median of ratios: in each round the time of a 21 × 21 grid, directions and all, over that of bare
forward passes just before and after it, in the same process. loss-landscapes and topoadamw are expected in the
environment of --peers, Landscaper in that of --landscaper, both this one if not given. ``--ranks`` compares two
processes of one thread each with one. Results are written to results/engine.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from . import engine_subject
from .engine_subject import BATCHES, SIDE, SUBJECTS

RESULTS = Path(__file__).parent / "results" / "engine.json"
GRIDS = ("CNN", "transformer", "MLP")
IN_LOOP = ("lrscape in-loop", "topoadamw")
POINTS = 400  # of the comparison of ranks
SLOWER = {"loss-landscapes", "Landscaper", "topoadamw"}


def cells(
    subjects: list[str], models: list[str], batches: list[int], side: int, rounds: int, python: str
) -> Iterator[dict[str, Any]]:
    """Time subjects in a process of their own, cell by cell."""
    arguments = [",".join(subjects), ",".join(models), ",".join(map(str, batches)), str(side), str(rounds)]
    command = [python, "-P", str(Path(engine_subject.__file__)), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)


def interpreter(subject: str, options: argparse.Namespace) -> str:
    """Find the environment that holds a package."""
    if subject == "Landscaper":
        return str(options.landscaper)
    return str(options.peers) if subject in SLOWER else sys.executable


def _place(cell: dict[str, Any]) -> tuple[str, str, int, int]:
    return cell["subject"], cell["model"], cell["batch"], cell["side"]


def spread(cell: dict[str, Any]) -> str:
    """Word a cell: median, and the range over rounds."""
    if "ratios" not in cell:
        return "fails"
    found = cell["ratios"]
    return f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def table(found: list[dict[str, Any]], side: int) -> str:
    """Lay out ratios by package, model and batch."""
    found = [cell for cell in found if cell["side"] == side]
    columns = list(dict.fromkeys((cell["model"], cell["batch"]) for cell in found))
    lines = [
        "| | " + " | ".join(f"{model}, {batch}" for model, batch in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for subject in dict.fromkeys(cell["subject"] for cell in found):
        row = {(c["model"], c["batch"]): spread(c) for c in found if c["subject"] == subject}
        lines.append(f"| {subject} | " + " | ".join(row.get(column, "–") for column in columns) + " |")
    return "\n".join(lines)


_RANK = """
import sys, time
import torch, torch.distributed as dist, torch.nn.functional as F
from lrscape import landscape
from lrscape.benchmarks.engine_subject import cnn, images
torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
model, batch = cnn().eval(), images(128, 16)
objective = landscape.Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), [batch])
directions = landscape.random_directions(model, 2, seed=0)
points = landscape.points(landscape.grid(21).coordinates[:int(sys.argv[1])])
landscape.evaluate(model, objective, directions, landscape.grid(3))
first = dist.get_rank() == 0
for _ in range(int(sys.argv[2])):
    for share, busy in (("none", first), ("auto", True), ("none", True)):
        dist.barrier()
        start = time.perf_counter()
        if busy:
            landscape.evaluate(model, objective, directions, points, share=share)
        dist.barrier()
        if first:
            print(time.perf_counter() - start, flush=True)
dist.destroy_process_group()
"""


def speedup(rounds: int) -> tuple[list[float], list[float]]:
    """Measure how much faster two ranks are than one of them alone, and how much two are that have nothing to share."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "rank.py"
        script.write_text(_RANK)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [*launch, str(script), str(POINTS), str(rounds)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    times = [float(line) for line in done.stdout.split()]
    rows = list(zip(times[::3], times[1::3], times[2::3], strict=True))
    return [alone / shared for alone, shared, _ in rows], [2 * alone / apart for alone, _, apart in rows]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--landscaper", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--models", default=",".join(GRIDS))
    parser.add_argument("--subjects", default=",".join(name for name in SUBJECTS if name != "lrscape in-loop"))
    parser.add_argument("--ranks", action="store_true", help="only compare two ranks with one")
    options = parser.parse_args()
    record: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    models = options.models.split(",")
    place = {"date": str(datetime.date.today()), "torch": str(torch.__version__), "machine": platform.machine()}
    place["threads"] = str(torch.get_num_threads())
    if options.ranks:
        sharing, apart = speedup(options.rounds)
        record["two_ranks"] = {**place, "speedups": sharing, "apart": apart}
        sys.stdout.write(
            f"two ranks of one thread: {median(sharing):.2f} × one; sharing nothing: {median(apart):.2f}\n"
        )
    else:
        jobs = [(subject, model, list(BATCHES), SIDE) for model in models for subject in options.subjects.split(",")]
        jobs += [(subject, "CifarNet", [128], 5) for subject in IN_LOOP]
        measured = {_place(cell): cell for cell in record.get("cells", [])}
        for subject, model, batches, side in jobs:
            new = cells([subject], [model], batches, side, options.rounds, interpreter(subject, options))
            measured |= {_place(cell): {**cell, **place} for cell in new}
            record["cells"] = found = list(measured.values())
            RESULTS.write_text(json.dumps(record, indent=1) + "\n")  # so that nothing is lost if this is cut off
        sys.stdout.write(f"{table(found, SIDE)}\n\n{table(found, 5)}\n")
        for cell in found:
            if "error" in cell:
                sys.stderr.write(f"{cell['subject']}, {cell['model']}: {cell['error']}\n")
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
