"""Check what landscape packages get wrong, and lrscape by the same checks, and print a table in Markdown.

    python -m lrscape.benchmarks.exactness [--peers PYTHON] [--landscaper PYTHON]

Every cell is measured in the run: one small trained model goes through each package in a process of its own.
loss-landscapes and topoadamw are expected in the environment of --peers; landscaper, which wants numpy < 2 and Python
< 3.13, in that of --landscaper. Both are this interpreter if not given. The column of a package that is not there stays
empty, and the reason is printed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lrscape import landscape
from lrscape.cli.digits import digits

from . import peers
from .peers import Array

LOSS, COPY, SCAPER, TOPO, OURS = peers.SUBJECTS


class Row(NamedTuple):
    """A line of the table: a check, and which packages the claim says fail it."""

    check: str
    text: str
    accused: tuple[str, ...] = ()


ALL = (LOSS, SCAPER, TOPO)
ROWS = (
    Row("grid", "cells against a plain loop on the plane walked, float64", (LOSS,)),
    Row("ours", "lrscape against the loop on that same plane, largest error"),
    Row("angles", "absolute cosine of the directions, orthogonal where offered; 278,745 parameters", (SCAPER,)),
    Row("small_angles", "the same, 690 parameters"),
    Row("labels", "largest coordinate returned, for the true one", (SCAPER,)),
    Row("even", "coordinates of the unmoved model on a grid of 20 × 20"),
    Row("order", "coordinates along the first direction are returned"),
    Row("altered", "cells altered after measuring", (SCAPER,)),
    Row("odd values", "a loss that is NaN, and one that is infinite", (SCAPER,)),
    Row("biases", "biases and norms of the model", ALL),
    Row("returns", "of coordinates, seed and norms it returns", ALL),
    Row("weights", "weights afterwards", (LOSS,)),
    Row("exception", "model after an exception in the loss", ALL),
    Row("interrupt", "model after KeyboardInterrupt in the loss"),
    Row("storage", "addresses of the parameters", (TOPO,)),
    Row("shared", "distinct storages of the 10 parameters", (TOPO,)),
    Row("modes", "train/eval modes, one norm being frozen", (TOPO,)),
    Row("buffers", "running statistics of a model in train mode"),
    Row("trainable", "requires_grad"),
    Row("gradients", "gradients"),
    Row("pending", "backward pass of a loss computed before"),
    Row("random state", "random state of torch, numpy and Python", (TOPO,)),
    Row("channels_last", "model in channels_last", (TOPO,)),
    Row("mixed", "model with a layer in bfloat16", (TOPO,)),
)


def train(folder: Path) -> None:
    """Train the model of the checks for a moment, and write it with one batch to look at."""
    torch.manual_seed(0)
    model, data = peers.network(), digits()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for chosen in torch.randint(len(data.y), (150, 64)):
        loss = F.cross_entropy(model(data.x[chosen]), data.y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    saved = {"state": model.state_dict(), "x": data.x_test[:32], "y": data.y_test[:32]}
    torch.save(saved, folder / "checkpoint.pt")


def load(folder: Path) -> peers.Watch:
    """Load model and batch, in float64."""
    recorder = peers.Recorder(peers.SUBJECTS[OURS], folder)
    return peers.Watch(recorder.model().double(), (recorder.batch[0].double(), recorder.batch[1]))


def reference(theta: Array, plane: tuple[Array, Array], index: Array, folder: Path) -> Array:
    """Compute the losses on a plane by a plain loop; the last index is for columns only."""
    watch = load(folder)
    losses = np.empty((len(index) - 1, len(index)))
    for i, a in enumerate(index[:-1]):
        for j, b in enumerate(index):
            moved = torch.from_numpy(theta + a * plane[0] + b * plane[1])
            nn.utils.vector_to_parameters(moved, watch.model.parameters())
            with torch.no_grad():
                losses[i, j] = watch()
    return losses


def ours_apart(plane: tuple[Array, Array], index: Array, expected: Array, folder: Path) -> float:
    """Evaluate a plane that another package walked with lrscape, and compare with the loop."""
    watch = load(folder)
    directions = landscape.directions_from_vectors(watch.model, np.stack(plane))
    where = landscape.points(np.stack([axis.ravel() for axis in np.meshgrid(index, index, indexing="ij")], axis=1))
    surface = landscape.evaluate(watch.model, watch, directions, where)
    return float(np.abs(surface.losses - expected.ravel()).max() / np.ptp(expected))


def judge_surface(subject: peers.Subject, walk: dict[str, Array], folder: Path) -> Iterator[tuple[str, peers.Finding]]:
    """Compare the surface returned with the losses measured, and with the loop on the plane walked."""
    n, grid, theta = subject.n, walk["grid"], walk["theta"]
    plane = subject.plane(walk["visited"], n)
    index: Array = np.arange(n + 1.0) - subject.centre(n)  # one more, for the next column
    expected = reference(theta, plane, index, folder)
    extent = float(np.ptp(expected))
    right, shifted = (np.abs(grid - expected[:, k : k + n]) <= 1e-6 * extent for k in (0, 1))
    rows = np.flatnonzero((shifted & ~right).any(axis=1)).tolist()
    error = np.abs(grid - expected[:, :n]).max() / extent
    text = f"{right.sum()} of {n * n} right, largest error {error:.1g} of the range"
    if rows:
        every = "every second" if set(np.diff(rows)) == {2} else "some"
        text += f"; {every} row from {rows[0]} to {rows[-1]}, counted from 0, holds the values of the next column"
    yield "grid", (not rows, text)
    apart = ours_apart(plane, index[:n], expected[:, :n], folder)
    yield "ours", (apart < 1e-12, f"{apart:.1g} of the range")
    losses = np.empty((n, n))
    for call, loss in enumerate(walk["losses"]):
        losses[subject.cell(call, n)] = loss
    altered = [(int(i), int(j)) for i, j in np.argwhere(grid != losses)]
    text = f"{len(altered)} of {n * n}"
    if altered:
        first, largest = altered[0], float(losses.max())
        text += f": the {'largest' if losses[first] == largest else 'first'}, by {grid[first] - losses[first]:+.2g}"
    yield "altered", (not altered, text)
    narrow = np.concatenate([np.full(p.numel(), p.dim() <= 1) for p in peers.network().parameters()])
    farthest = float(np.abs(walk["visited"] - theta)[:, narrow].max())
    yield "biases", (farthest == 0, f"moved by up to {farthest:.2g}" if farthest else "not moved")
    nan, infinite = (float(walk["odd_grid"][subject.cell(call, peers.ODD)]) for call in peers.SURPRISED)
    finite = walk["odd_losses"][np.isfinite(walk["odd_losses"])]
    text = f"NaN → {nan:.4g}, ∞ → {infinite:.4g}; others: mean {finite.mean():.4g}, largest {finite.max():.4g}"
    yield "odd values", (np.isnan(nan) and np.isinf(infinite), text)


def judge_labels(subject: peers.Subject, walk: dict[str, Array]) -> Iterator[tuple[str, peers.Finding]]:
    """Compare coordinates, seed and norms with the truth, and look at the angles."""
    n = subject.n
    steps = [float(np.linalg.norm(step)) for step in subject.plane(walk["visited"], n)]
    norms = [np.isclose(walk["numbers"], step * scale).any() for step in steps for scale in (1.0, (n - 1) / 2)]
    has = {"coordinates": bool(walk["axes"]), "seed": peers.SEED in walk["numbers"], "norms": any(norms)}
    yield "returns", (all(has.values()), ", ".join(key for key, value in has.items() if value) or "nothing")
    for name in ("angles", "small_angles"):
        cosines = walk[name]
        parallel = int((cosines >= 0.9995).sum())
        text = f"{cosines.min():#.3g} to {cosines.max():#.3g}; 1.000 in {parallel} of {len(cosines)}"
        yield name, (parallel == 0, text)
    if "coordinates" not in walk:
        return
    index = np.arange(n) - subject.centre(n)
    said, true = float(np.abs(walk["coordinates"]).max()), float(index[-1] * steps[0] / walk["unit"])
    yield "labels", (bool(np.isclose(said, true)), f"{said:.3f} for {true:.3f}")
    even = "even n refused" if "even" not in walk else f"({walk['even'][0]:.3f}, {walk['even'][1]:.3f})"
    yield "even", ("even" not in walk or not walk["even"].any(), even)
    along = np.repeat(index, n)
    column = int(np.argmax([abs(np.corrcoef(along, walk["coordinates"][:, k])[0, 1]) for k in (0, 1)]))
    yield "order", (column == 0, f"in column {column + 1}")


def measure(name: str, interpreter: str, folder: Path) -> dict[str, Any]:
    """Let a package walk in its own process and judge it; where that fails, say why."""
    command = [interpreter, "-P", str(Path(peers.__file__)), name, str(folder)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return {"version": "not run", "found": {}, "reason": error.strerror}
    if run.returncode:
        return {"version": "not run", "found": {}, "reason": (run.stderr.splitlines() or ["no message"])[-1]}
    column: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    with np.load(folder / f"{name}.npz") as archive:
        walk = dict(archive)
    subject = peers.SUBJECTS[name]
    column["found"] |= {**dict(judge_surface(subject, walk, folder)), **dict(judge_labels(subject, walk))}
    return column


def verdict(row: Row, columns: dict[str, dict[str, Any]]) -> str:
    """Say of which packages the claim turned out true."""
    ran = [name for name in row.accused if row.check in columns[name]["found"]]
    if not row.accused or not ran:
        return "–" if not row.accused else "not run"
    guilty = [name for name in ran if not columns[name]["found"][row.check][0]]
    if guilty == ran:
        return "yes" if len(ran) == 1 else "yes, all"
    return f"only of {', '.join(guilty)}" if guilty else "no"


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable, help="has loss-landscapes and topoadamw")
    parser.add_argument("--landscaper", metavar="PYTHON", default=sys.executable, help="has landscaper")
    options = parser.parse_args()
    interpreters = {SCAPER: options.landscaper, OURS: sys.executable}
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        columns = {name: measure(name, interpreters.get(name, options.peers), Path(folder)) for name in peers.SUBJECTS}
    today = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    print(f"{today}, Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}\n")
    print(
        "| checked |", " | ".join(f"{name} {column['version']}" for name, column in columns.items()), "| claim holds |"
    )
    print("|---" * (len(columns) + 2) + "|")
    for row in ROWS:
        cells = [column["found"].get(row.check, (True, "–"))[1] for column in columns.values()]
        print(f"| {row.text} |", " | ".join(cells), f"| {verdict(row, columns)} |")
    for name, column in columns.items():
        if "reason" in column:
            print(f"\n{name} was not run: {column['reason']}")


if __name__ == "__main__":
    main()
