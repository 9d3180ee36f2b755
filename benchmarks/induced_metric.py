"""How many iterations does the induced metric take on Beale's, Rosenbrock's and Himmelblau's functions?

The sweep of Harvey 2025 (arXiv:2509.03594, the public notebook): from (0, 0) in double precision, up to 1,000 steps,
until the function is below 1e-7 (Himmelblau: 1e-6). The grid is the published one: rates 1e-6 … 10 by factors of ten,
momentum (β₁ of Adam) 0, .01, .1, .25, .5, .75, .9, .99, ξ of .01, .1, 1, 10, b = 0, and .8, .85, .9, .99, .999 for b_r
(β₂). All configurations run side by side, as rows of a tensor; the fastest ten are run again with the optimizer class
itself, whose best count is reported beside the published one. The sweep is also repeated from starts that are off by
1e-12: where its best count moves, the paths are chaotic and the count is luck. Being the best of a sweep on the very
function, these are counts of what an optimizer can do, not of what to expect from it.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.induced_metric [--figure FILE.png] [--keep]
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ..landscape.files import atomic_write
from ..optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD
from ..viz.keys import legend_below
from ..viz.style import LIGHT, dress

RESULTS = Path(__file__).parent / "results" / "induced_metric.jsonl"
STEPS = 1000
RATES = [10.0**k for k in range(-6, 2)]
MOMENTUM = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]
XI = [0.01, 0.1, 1.0, 10.0]
SHARES = [0.8, 0.85, 0.9, 0.99, 0.999]
EPS = 1e-8
AGAIN, MOVED, STARTS = 10, 1e-12, 10


@dataclass(frozen=True)
class Problem:
    """A function of points (…, 2), what counts as solved, and what to show of it."""

    value: Callable[[Tensor], Tensor]
    tolerance: float
    window: tuple[float, float, float, float]
    minima: list[tuple[float, float]]


def beale(p: Tensor) -> Tensor:
    """Compute Beale's function, whose minimum 0 is at (3, ½)."""
    x, y = p.unbind(-1)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def rosenbrock(p: Tensor) -> Tensor:
    """Compute Rosenbrock's function, whose minimum 0 is at (1, 1)."""
    x, y = p.unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def himmelblau(p: Tensor) -> Tensor:
    """Compute Himmelblau's function, with four minima of 0."""
    x, y = p.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


PROBLEMS = {
    "beale": Problem(beale, 1e-7, (-0.3, 4.2, -1.0, 1.1), [(3.0, 0.5)]),
    "rosenbrock": Problem(rosenbrock, 1e-7, (-0.5, 1.6, -0.5, 2.0), [(1.0, 1.0)]),
    "himmelblau": Problem(himmelblau, 1e-6, (-1.0, 5.0, -3.5, 4.0), [(3.0, 2.0), (3.584428, -1.848127)]),
}
GRIDS: dict[str, dict[str, list[float]]] = {
    "adam": {"lr": RATES, "momentum": MOMENTUM, "beta_rms": SHARES},
    "sgd": {"lr": RATES, "momentum": MOMENTUM},
    "metric": {"lr": RATES, "momentum": MOMENTUM, "xi": XI},
    "log": {"lr": RATES, "momentum": MOMENTUM, "xi": XI},
    "rms": {"lr": RATES, "momentum": MOMENTUM, "xi": XI, "beta_rms": SHARES},
}
PUBLISHED = {
    "beale": {"adam": 58, "sgd": 166, "metric": 186, "log": 55, "rms": 64},
    "rosenbrock": {"adam": 402, "sgd": 732, "metric": 203, "log": 500, "rms": 425},
    "himmelblau": {"adam": 10, "sgd": 18, "metric": 197, "log": 13, "rms": 19},
}


def sweep(problem: Problem, method: str, start: Tensor) -> Tensor:
    """Run all configurations at once; give the count of each, one more than allowed where it does not arrive."""
    grid = GRIDS[method]
    table = torch.tensor(list(itertools.product(*grid.values())), dtype=torch.float64)
    options = {name: table[:, i : i + 1] for i, name in enumerate(grid)}
    lr, m = options["lr"], options["momentum"]
    p = start.expand(len(table), 2)
    first, second = torch.zeros_like(p), torch.zeros_like(p)
    arrived = torch.full((len(table),), STEPS + 1)
    for k in range(1, STEPS + 1):
        with torch.enable_grad():
            at = p.clone().requires_grad_()
            loss = problem.value(at)
            (g,) = torch.autograd.grad(loss.sum(), at)
        loss = loss.detach()[:, None]
        if method == "sgd":
            first = m * first + g
            p = p - lr * first
        else:
            first = m * first + (1 - m) * g
            denominator = torch.ones_like(p)
            if "beta_rms" in options:
                share = options["beta_rms"]
                second = share * second + (1 - share) * g**2
                denominator = (second / (1 - share**k)).sqrt() + EPS
            squared = options["xi"] * (g**2 / denominator).sum(1, keepdim=True) if "xi" in options else 0 * loss
            factor = loss / (loss**2 + squared) if method == "log" else 1 / (1 + squared)
            p = p - lr * factor * first / (1 - m**k) / denominator
        solved = (problem.value(p) <= problem.tolerance) & (arrived > STEPS)
        arrived[solved] = k
    return arrived


def fastest(problem: Problem, method: str) -> dict[str, Any]:
    """Sweep, run the fastest again with the class itself, and find how far rounding decides."""
    start = torch.zeros(2, dtype=torch.float64)
    arrived = sweep(problem, method, start)
    configurations = list(itertools.product(*GRIDS[method].values()))
    runs = []
    for number in arrived.argsort(stable=True)[:AGAIN].tolist():
        if arrived[number] <= STEPS:
            options = dict(zip(GRIDS[method], configurations[number], strict=True))
            runs.append((options, np.array(list(path(problem, method, options)))))
    options, points = min(runs, key=lambda run: len(run[1]))
    stream = torch.Generator().manual_seed(0)
    moved = [MOVED * torch.randn(2, generator=stream, dtype=torch.float64) for _ in range(STARTS)]
    counts = [int(sweep(problem, method, start + by).min()) for by in moved]
    return {
        "iterations": len(points) - 1, "side_by_side": int(arrived.min()), "moved": [min(counts), max(counts)],
        "arriving": int((arrived <= STEPS).sum()), "tried": len(arrived), "best": options, "path": points,
    }  # fmt: skip


def optimizer(method: str, p: Tensor, options: dict[str, float]) -> Optimizer:
    """Construct the optimizer class itself."""
    lr, m, share = options["lr"], options["momentum"], options.get("beta_rms", 0.0)
    if method == "adam":
        return Adam([p], lr, (m, share), EPS)
    if method == "sgd":
        return SGD([p], lr, m)
    if method == "rms":
        return InducedMetricRMS([p], lr, m, options["xi"], 0.0, share, eps=EPS)
    kind = InducedMetricLog if method == "log" else InducedMetricSGD
    return kind([p], lr, m, options["xi"], 0.0)


def path(problem: Problem, method: str, options: dict[str, float]) -> Iterator[list[float]]:
    """Walk until the problem is solved; yield every point, the start included."""
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    made = optimizer(method, p, options)

    def closure() -> Tensor:
        made.zero_grad()
        loss = problem.value(p)
        loss.backward()
        return loss

    yield p.tolist()
    for _ in range(STEPS):
        made.step(closure)
        yield p.tolist()
        if problem.value(p) <= problem.tolerance:
            return


def draw(ax: Axes, name: str, paths: dict[str, NDArray[np.float64]]) -> None:
    """Draw a function from above, and the paths on it."""
    problem = PROBLEMS[name]
    left, right, bottom, top = problem.window
    x, y = np.meshgrid(np.linspace(left, right, 150), np.linspace(bottom, top, 150))
    height = problem.value(torch.tensor(np.stack([x, y], -1))).numpy() + 1e-2
    ax.contourf(x, y, height, np.geomspace(height.min(), height.max(), 14), cmap="Greys_r", norm=LogNorm(), alpha=0.6)
    handles = []
    for color, (method, points) in zip(LIGHT.series, paths.items(), strict=False):
        wild = np.abs(np.diff(points, axis=0)).sum() > 100  # beneath the others, and faint
        look = {"linewidth": 0.5, "alpha": 0.5, "zorder": 3} if wild else {"linewidth": 1.2, "zorder": 4}
        handles += ax.plot(*points.T, color=color, label=f"{method} ({len(points) - 1})", **look)
    ax.plot(*np.array(problem.minima).T, linestyle="none", marker="*", markersize=8, color=LIGHT.ink, zorder=5)
    ax.set(title=name, xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
    dress(ax, LIGHT)
    legend_below(ax, handles, LIGHT)


def main() -> None:
    """Sweep, compare with the published counts, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="draw the paths here")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    lines: list[dict[str, Any]] = []
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    print("| function | method | iterations | published | start off by 1e-12 | arriving | best |")
    print(f"|{'---|' * 7}")
    for (name, problem), ax in zip(PROBLEMS.items(), figure.subplots(1, 3), strict=True):
        paths = {}
        for method in GRIDS:
            found = fastest(problem, method)
            paths[method] = found.pop("path")
            best = ", ".join(f"{key} {value:g}" for key, value in found["best"].items())
            low, high = found["moved"]
            print(
                f"| {name} | {method} | {found['iterations']} | {PUBLISHED[name][method]} "
                f"| {low if low == high else f'{low}–{high}'} | {found['arriving']} of {found['tried']} | {best} |"
            )
            lines.append({
                "function": name, "method": method, **found, "published": PUBLISHED[name][method],
                "torch": str(torch.__version__), "date": date.today().isoformat(),
            })  # fmt: skip
        draw(ax, name, paths)
    if arguments.keep:
        with atomic_write(RESULTS) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    if arguments.figure is not None:
        figure.savefig(arguments.figure, dpi=110)


if __name__ == "__main__":
    main()
