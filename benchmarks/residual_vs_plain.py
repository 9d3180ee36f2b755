"""Do shortcuts smooth the loss surface? Figure 1 of Li et al. 2018 (arXiv:1712.09913) on real data, with numbers.

Networks of He et al. 2015 (arXiv:1512.03385, section 4.2) at half their width, with and without parameter-free
shortcuts, are trained alike on handwritten digits; the training loss is measured on filter-normalised planes, and
persistence counts the basins and barriers above its standard error. At 20 layers both kinds train. With --depths 56, as
in the paper's figure, the plain kind does not (training loss near 1 after 600 steps), so that such a pair of columns
compares unequal losses.

With running statistics, as in the paper, a step of the weights' own length also changes the scale at which signals
leave the layers, and losses explode; with the statistics of each batch that is divided out. Both are measured.

Every finished run is one line of ``results/residual_vs_plain.jsonl`` with its surfaces as .npz files beside it; runs
found there are not repeated. Numbers are computed from the surfaces at each call.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.residual_vs_plain [--depths 20] [--pairs] [--figure FILE.png]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from lrscape import landscape, tda, viz
from lrscape.cli.digits import digits
from lrscape.landscape import LossSurface
from lrscape.landscape.files import atomic_write
from lrscape.landscape.modes import BatchNorm

from .shortcuts import train

NAMES = {False: "plain", True: "residual"}
POLICIES: dict[BatchNorm, str] = {"eval": "running statistics (as Li et al.)", "batch": "statistics of each batch"}
COLOURS = {"eval": (1e-3, 1e3), "batch": (1e-3, 10.0)}  # ends of the scale; a loss beyond takes the end's colour
TICKS = [10.0**k for k in range(-3, 4)]
RESULTS = Path(__file__).parent / "results" / "residual_vs_plain.jsonl"
BATCH = 64
SIDE, IMAGES = 25, 512
SIZES, PLANES, REACH = (7, 15, 31), 4, 0.12  # TopoCNN's own planes reach .12 and are measured on one batch


def loss_on(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Compute the mean cross-entropy of a batch."""
    return F.cross_entropy(model(batch[0]), batch[1])


def count_pairs(model: nn.Module, seed: int) -> dict[str, list[list[int]]]:
    """Count on several planes, by side of the grid: H0, H1, and both again above a thousandth of the range."""
    data = digits()
    objective = landscape.Objective(loss_on, [(data.x[:BATCH], data.y[:BATCH])])
    counts: dict[str, list[list[int]]] = {str(side): [] for side in SIZES}
    for plane in range(PLANES):
        directions = landscape.random_directions(model, 2, seed=(seed, plane))
        for side in SIZES:
            values = landscape.evaluate(model, objective, directions, landscape.grid(side, REACH)).values
            diagrams = tda.persistence(values)
            least = 1e-3 * float(np.ptp(values))
            long = [tda.minima_deeper_than(diagram, least) for diagram in diagrams]
            counts[str(side)].append([len(diagrams[0]), len(diagrams[1]), *long])
    return counts


def surface_file(depth: int, shortcut: bool, seed: int, policy: str) -> Path:
    """Name the file of a run's surface."""
    return RESULTS.with_suffix("") / f"{NAMES[shortcut]}-{depth}-{seed}-{policy}.npz"


def compact(surface: LossSurface) -> LossSurface:
    """Halve the file: single precision is more than the losses have."""
    losses, error = surface.losses.astype(np.float32), errors(surface).ravel().astype(np.float32)
    return replace(surface, losses=losses, standard_error=error)  # type: ignore[arg-type]  # read back as float64


def run(depth: int, shortcut: bool, seed: int, pairs: bool) -> dict[str, Any]:
    """Train, and measure and save what is not there yet."""
    data = digits()
    start = time.perf_counter()
    model = train(depth, shortcut, seed)
    trained = time.perf_counter() - start
    with torch.no_grad():
        train_loss = float(F.cross_entropy(model(data.x), data.y))
        accuracy = float((model(data.x_test).argmax(1) == data.y_test).double().mean())
    batches = list(zip(data.x[:IMAGES].split(BATCH), data.y[:IMAGES].split(BATCH), strict=True))
    objective, directions = landscape.Objective(loss_on, batches), landscape.random_directions(model, 2, seed=seed)
    for policy in POLICIES:
        target = surface_file(depth, shortcut, seed, policy)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            points = landscape.grid(SIDE, 1.0)
            compact(landscape.evaluate(model, objective, directions, points, batch_norm=policy)).save(target)
    found: dict[str, Any] = {
        "depth": depth, "shortcut": shortcut, "seed": seed, "train_loss": train_loss, "test_accuracy": accuracy,
        "training_seconds": trained, "torch": str(torch.__version__), "date": date.today().isoformat(),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return {**found, "pairs": count_pairs(model, seed)} if pairs else found


def errors(surface: LossSurface) -> NDArray[np.float64]:
    """Give the standard errors on the grid."""
    assert surface.standard_error is not None
    return surface.standard_error.reshape(surface.values.shape)


def describe(entry: dict[str, Any], policy: BatchNorm) -> dict[str, float]:
    """Collect what the table averages, from a run and its surface."""
    surface = LossSurface.load(surface_file(entry["depth"], entry["shortcut"], entry["seed"], policy))
    noisy, exact = (tda.profile(surface.values, error) for error in (errors(surface), None))
    rows = {
        "training loss": entry["train_loss"],
        "test accuracy, %": 100 * entry["test_accuracy"],
        "highest loss on the plane": noisy.highest,
        "basins above the noise": noisy.n_basins,
        "highest barrier above the noise": noisy.barriers.max(),
        "loops above the noise": noisy.n_loops,
        "basins, all": exact.n_basins,
        "deepest of the others": exact.depths[1:].max(initial=0.0),
        "highest barrier": exact.barriers.max(),
        "loops, all": exact.n_loops,
        "roughness": exact.roughness,
    }
    return {name: float(value) for name, value in rows.items()}


def interval(values: Sequence[float]) -> str:
    """Write a mean with its 95 % t-interval."""
    mean = float(np.mean(values))
    if len(values) < 2 or not np.ptp(values):
        return f"{mean:.3g}" + (" for each" if len(values) > 1 else "")
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.3g} ± {half:.2g}"


def print_tables(entries: list[dict[str, Any]], depths: Sequence[int]) -> None:
    """Print means and intervals over the seeds, and the numbers of pairs."""
    kinds = [(depth, shortcut) for depth in depths for shortcut in (False, True)]
    runs = {kind: [e for e in entries if (e["depth"], e["shortcut"]) == kind] for kind in kinds}
    heads = [f"{NAMES[shortcut]} {depth}" for depth, shortcut in kinds]
    for policy, words in POLICIES.items():
        rows = {kind: [describe(entry, policy) for entry in found] for kind, found in runs.items()}
        print(f"| {words}: mean, 95 % interval over seeds | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
        for name in next(found[0] for found in rows.values() if found):
            cells = [interval([row[name] for row in rows[kind]]) if rows[kind] else "–" for kind in kinds]
            print(f"| {name} | {' | '.join(cells)} |")
        print()
    counted = {kind: [e["pairs"] for e in found if "pairs" in e] for kind, found in runs.items()}
    print("| network | grid | planes | H0 | H1 | H0 > 1/1000 of the range | H1 > 1/1000 |\n|---" + "|---" * 6 + "|")
    for found, head in zip(counted.values(), heads, strict=True):
        for side in SIZES if found else ():
            table: NDArray[Any] = np.array([plane for pairs in found for plane in pairs[str(side)]])
            cells = [f"{column.mean():.2f} (most {column.max()})" for column in table.T]
            print(f"| {head} | {side}×{side} | {len(table)} | {' | '.join(cells)} |")


def draw(depths: Sequence[int], seeds: Sequence[int], target: Path) -> None:
    """Draw the surfaces side by side: a column for each seed, one scale of colours for all rows of a policy."""
    rows = [(depth, shortcut) for depth in depths for shortcut in (False, True)]
    figure = Figure(figsize=(1.25 * len(seeds) + 1.0, len(POLICIES) * (1.3 * len(rows) + 0.4)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(POLICIES), 1, squeeze=False)[:, 0]
    for (policy, words), part in zip(POLICIES.items(), parts, strict=True):
        panels = part.subplots(len(rows), len(seeds), squeeze=False, sharex=True, sharey=True)
        low, high = COLOURS[policy]
        levels = np.linspace(np.log10(low), np.log10(high), 17)  # isolines of the logarithm, as the colours are
        ticks = [tick for tick in TICKS if low <= tick <= high]
        for (row, (depth, shortcut)), (column, seed) in product(enumerate(rows), enumerate(seeds)):
            surface = LossSurface.load(surface_file(depth, shortcut, seed, policy))
            above, every = (tda.profile(surface.values, error) for error in (errors(surface), None))
            values, ax = np.log10(np.clip(surface.values, low, high)).T, panels[row, column]
            shown = ax.contourf(*surface.axes, values, levels=levels, cmap=viz.LIGHT.cmap)
            look = {"colors": viz.LIGHT.ink, "linewidths": 0.25, "alpha": 0.6, "linestyles": "solid"}
            ax.contour(*surface.axes, values, levels=levels, **look)
            places = [axis[at] for axis, at in zip(surface.axes, every.minima.T, strict=True)]
            ax.plot(*places, ".", color=viz.LIGHT.accent, markersize=4, clip_on=False)
            ax.set_title(f"seed {seed}: {every.n_basins} / {above.n_basins}", fontsize=7, pad=2)
            ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
            ax.tick_params(labelsize=6, length=2)
            if row == len(rows) - 1:
                ax.set_xlabel("direction 1", fontsize=7)
            if column == 0:
                ax.set_ylabel(f"{NAMES[shortcut]} {depth}\ndirection 2", fontsize=7)
        bar = part.colorbar(shown, ax=panels, aspect=40)
        bar.set_ticks(np.log10(ticks), labels=[f"{tick:g}" for tick in ticks])
        bar.set_label("training loss", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        part.suptitle(f"{words}; above each: its basins (dots), all / above the noise", fontsize=8)
    viz.save(figure, target, dpi=150)


def draw_in_perspective(depth: int, seed: int, target: Path) -> None:
    """Draw one seed's surfaces as Li et al. do, on one logarithmic scale of heights and colours."""
    files = [surface_file(depth, shortcut, seed, "eval") for shortcut in (False, True)]
    labels = [f"{NAMES[shortcut]} {depth}" for shortcut in (False, True)]
    figure = viz.compare([LossSurface.load(file) for file in files], labels=labels, kind="surface", log=True)
    viz.save(figure, target, dpi=200)


def main() -> None:
    """Run what is missing, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--pairs", action="store_true", help="count pairs on small planes of 20-layer networks too")
    parser.add_argument("--figure", type=Path, help="draw all surfaces into this file")
    parser.add_argument("--perspective", type=Path, help="draw the first seed's surfaces in perspective into this file")
    options = parser.parse_args()
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for depth in options.depths:
        for seed in options.seeds:
            for shortcut in (False, True):
                key = {"depth": depth, "shortcut": shortcut, "seed": seed}
                pairs = options.pairs and depth == 20
                old: dict[str, Any] = next((e for e in done if key.items() <= e.items()), {})
                count = pairs and "pairs" not in old
                if old and not count and all(surface_file(**key, policy=policy).exists() for policy in POLICIES):
                    continue
                done = [e for e in done if e is not old] + [{**old, **run(**key, pairs=count)}]
                with atomic_write(RESULTS) as file:
                    file.write("".join(json.dumps(entry) + "\n" for entry in done).encode())
    print_tables([e for e in done if e["seed"] in options.seeds], options.depths)
    if options.figure:
        draw(options.depths, options.seeds, options.figure)
    if options.perspective:
        draw_in_perspective(options.depths[0], options.seeds[0], options.perspective)


if __name__ == "__main__":
    main()
