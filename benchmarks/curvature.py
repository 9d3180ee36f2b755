"""Compare curvature with PyHessian, curvlinops and hessian-eigenthings: accuracy by products, and time per product.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.curvature [--peers PYTHON] [--seeds 20] [--rounds 9] [--batch 64]

Errors are against the exact Hessian of a network of 496 parameters trained on digits, in double precision: the median
over seeds, and the worst. Times are those of 16 products on a CNN of 280,000 parameters, over that of one gradient
taken before and after them in the same process; medians and range over rounds. pyhessian, curvlinops-for-pytorch and
hessian-eigenthings are expected in the environment of --peers, this one if not given. Results are written to
results/curvature-BATCH.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats

from ..cli.digits import digits
from . import curvature_subject
from .curvature_subject import SUBJECTS, network

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH, IMAGES = 300, 64, 200


def train(folder: Path) -> NDArray[np.float64]:
    """Train the network of the accuracies, write it with its batch, and give the eigenvalues of its exact Hessian."""
    torch.manual_seed(0)
    model, data = network().double(), digits()
    x, y = data.x.double(), data.y
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for chosen in torch.randint(len(y), (STEPS, BATCH)):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[chosen]), y[chosen])
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()
    x, y = x[:IMAGES], y[:IMAGES]
    torch.save({"state": model.state_dict(), "x": x, "y": y}, folder / "network.pt")
    parameters = list(model.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(model(x), y), parameters, create_graph=True)
    entries = torch.cat([slope.flatten() for slope in slopes])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in entries]
    matrix = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    exact: NDArray[np.float64] = torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()
    return exact


def findings(name: str, python: str, folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure one package in a process of its own."""
    arguments = [name, str(folder), str(options.seeds), str(options.rounds), str(options.batch)]
    command = [python, "-P", str(Path(curvature_subject.__file__)), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)


def errors(exact: NDArray[np.float64]) -> dict[str, Callable[[Any], float]]:
    """List how each estimate is judged, always relative."""
    top, width, total = exact[::-1], float(np.ptp(exact)), float(exact.sum())

    def density(value: Any) -> float:
        nodes, weights = (np.asarray(part) for part in value)
        return float(stats.wasserstein_distance(nodes, exact, weights)) / width

    return {
        "largest": lambda value: abs(value[0] / top[0] - 1),
        "five": lambda value: float(np.abs(np.asarray(value) / top[:5] - 1).max()),
        "trace": lambda value: abs(value / total - 1),
        "default trace": lambda value: abs(value / total - 1),
        "density": density,
    }


def judge(found: list[dict[str, Any]], exact: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Turn estimates into errors and leave the rest as it is."""
    rules = errors(exact)
    return [
        {**{key: one[key] for key in one if key != "value"}, "error_made": rules[one["job"]](one["value"])}
        if one["job"] in rules and "value" in one
        else one
        for one in found
    ]


COLUMNS = {
    "largest": "λ_max, 10 products",
    "five": "first five, 30 products",
    "trace": "trace, 99 products",
    "default trace": "trace, own rule",
    "density": "density, 3 × 40",
}


def accuracy_table(judged: list[dict[str, Any]]) -> str:
    """Lay out errors by package: the median, the worst, and the products really taken."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in dict.fromkeys(one["subject"] for one in judged):
        cells = []
        for job in COLUMNS:
            own = [one for one in judged if one["subject"] == name and one["job"] == job]
            made = [one["error_made"] for one in own if "error_made" in one]
            taken = f", {median(one['hvps'] for one in own if 'hvps' in one):.0f} products" if made else ""
            cells.append(f"{median(made):.1e} (worst {max(made):.1e}{taken})" if made else "–")
        if any(cell != "–" for cell in cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def time_table(judged: list[dict[str, Any]]) -> str:
    """Lay out times by package, in gradients, and whether a transformer's own attention will do."""
    lines = [
        "| | a product | set-up | 16 products with it, each | transformer |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["subject"] for one in judged):
        own = [one for one in judged if one["subject"] == name]
        timed = [one for one in own if one["job"] == "time"]
        if not timed:
            continue
        product, made = [one["product"] for one in timed], [one["set_up"] for one in timed]
        whole = [one["product"] + one["set_up"] / curvature_subject.VECTORS for one in timed]
        works = next((one for one in own if one["job"] == "attention"), {})
        answer = "works" if works.get("value") else works.get("error", "–").split(":")[0]
        cells = [f"{median(part):.2f} ({min(part):.2f}–{max(part):.2f})" for part in (product, made, whole)]
        lines.append(f"| {name} | {' | '.join(cells)} | {answer} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64, help="images in the batch of the timing")
    parser.add_argument("--subjects", default=";".join(SUBJECTS), help="separated by semicolons")
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        exact = train(folder)
        for name in options.subjects.split(";"):
            python = sys.executable if name == "lrscape" else options.peers
            found += list(findings(name, python, folder, options))
    judged = judge(found, exact)
    sys.stdout.write(f"{accuracy_table(judged)}\n\n{time_table(judged)}\n")
    for one in judged:
        if "error" in one:
            sys.stderr.write(f"{one['subject']}, {one['job']}: {one['error']}\n")
    record = {
        "date": str(datetime.date.today()),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "batch": options.batch,
        "findings": judged,
    }
    (RESULTS / f"curvature-{options.batch}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
