"""Time the tda room against gudhi, persim and landscaper in one run, and print a table in Markdown.

    python -m lrscape.benchmarks.tda [--repeats 9] [--landscaper PYTHON]

Each repetition times lrscape and the peer one after the other, and the ratio is the median over repetitions, so that a
slow spell of the machine falls on both. landscaper wants numpy < 2 and Python < 3.13; give the interpreter of an
environment that has it, or its rows are left out with a reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import gudhi
import gudhi.representations as representations
import numpy as np
import persim
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lrscape import tda

Surface = NDArray[np.float64]
Case = tuple[str, str, Callable[[], Any], Callable[[], Any], Callable[[Any, Any], float]]

CELLS: tuple[tda.Cells, ...] = ("vertices", "top")

LANDSCAPER = """
import json, sys, time
import numpy as np
from landscaper.tda import merge_tree

seconds = []
for name in sys.argv[1:]:
    surface = np.load(name)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in surface.shape], indexing="ij")
    coordinates = np.stack([axis.ravel() for axis in axes], axis=1)
    start = time.perf_counter()
    try:
        merge_tree(surface, coordinates)
        seconds.append(time.perf_counter() - start)
    except Exception as error:
        seconds.append(f"{type(error).__name__}: {error}".splitlines()[0][:60])
print(json.dumps(seconds))
"""


def surfaces(size: int) -> dict[str, Surface]:
    """Make white noise, the hardest surface there is, and a smooth rugged one."""
    noise = np.random.default_rng(0).standard_normal((size, size))
    return {"white noise": noise, "smooth": gaussian_filter(noise, 3.0)}


def random_diagram(count: int) -> Surface:
    """Make a diagram in the unit square."""
    random = np.random.default_rng(1)
    births = random.random(count) / 2
    return np.column_stack([births, births + random.random(count) / 2])


def general_complex(surface: Surface, cells: str) -> list[Surface]:
    """Compute all diagrams by gudhi's general cubical complex."""
    keyword = "vertices" if cells == "vertices" else "top_dimensional_cells"
    made = gudhi.CubicalComplex(**{keyword: surface})
    made.compute_persistence()
    return [made.persistence_intervals_in_dimension(k) for k in (0, 1)]


def apart(ours: Any, theirs: Any) -> float:
    """Find the largest difference between two arrays."""
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())


def diagrams_apart(ours: Any, theirs: Any) -> float:
    """Find the largest difference between two lists of diagrams, infinities being equal."""
    ordered = [points[np.lexsort(points.T[::-1])] for points in theirs]
    if any(a.shape != b.shape for a, b in zip(ours, ordered, strict=True)):
        return float("inf")
    changes = [a[a != b] - b[a != b] for a, b in zip(ours, ordered, strict=True)]
    return float(np.abs(np.concatenate(changes)).max(initial=0.0))


def cases() -> Iterator[Case]:
    """List what is timed: name, peer, ours, theirs, and how far the results may differ."""
    for size in (50, 200, 500):
        for kind, surface in surfaces(size).items():
            for cells in CELLS:
                yield (
                    f"persistence {size}×{size}, {kind}, {cells}",
                    "gudhi.CubicalComplex",
                    partial(tda.persistence, surface, cells),
                    partial(general_complex, surface, cells),
                    diagrams_apart,
                )
    diagram, levels = random_diagram(5000), np.linspace(0, 1, 100)
    draw = partial(tda.persistence_image, diagram, birth_range=(0.0, 1.0), persistence_range=(0.0, 1.0), sigma=0.05)
    # 1/64 is exact, so that persim makes 64 pixels and not 63.
    imager = persim.PersistenceImager(pixel_size=1 / 64, kernel_params={"sigma": 0.05**2})
    yield (
        "image 64×64 of 5,000 points",
        "persim",
        partial(draw, resolution=64),
        lambda: imager.transform(diagram),
        apart,
    )
    yield (
        "image 50×50 of 5,000 points",
        "lrscape, backend=persim",
        draw,
        partial(draw, backend="persim"),
        apart,
    )
    sampled = representations.PersistenceImage(
        bandwidth=0.05, weight=lambda point: point[1], resolution=[50, 50], im_range=[0.01, 0.99, 0.01, 0.99]
    )
    yield (
        "image 50×50 of 5,000 points",
        "gudhi.representations (values at pixel centres)",
        draw,
        lambda: sampled(diagram).reshape(50, 50).T / 50**2,
        lambda ours, theirs: apart(ours, theirs) / float(ours.max()),
    )
    betti = representations.BettiCurve(predefined_grid=levels)
    yield (
        "Betti curve, 5,000 points",
        "gudhi.representations",
        lambda: tda.betti_curve(diagram, levels),
        (lambda: betti(diagram)),
        apart,
    )
    landscape = representations.Landscape(num_landscapes=5, resolution=100, sample_range=[0.0, 1.0])
    yield (
        "landscape, 5,000 points",
        "gudhi.representations",
        lambda: tda.persistence_landscape(diagram, levels),
        (lambda: landscape(diagram).reshape(5, 100) / np.sqrt(2)),
        apart,
    )
    entropy = representations.Entropy()
    yield (
        "entropy, 5,000 points",
        "gudhi.representations",
        lambda: tda.persistence_entropy(diagram),
        (lambda: float(entropy(diagram)[0])),
        apart,
    )
    one, other = diagram[:300], diagram[300:600]
    yield (
        "bottleneck, 300 points each",
        "persim",
        lambda: tda.bottleneck(one, other),
        lambda: persim.bottleneck(one, other),
        apart,
    )
    yield (
        "Wasserstein, 300 points each",
        "persim",
        lambda: tda.wasserstein(one, other, internal_p=2.0),
        lambda: persim.wasserstein(one, other),
        apart,
    )


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> tuple[float, float, float]:
    """Time two functions in turn; give both medians in seconds and the median ratio."""
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = time.perf_counter()
        ours()
        between = time.perf_counter()
        theirs()
        times.append((between - start, time.perf_counter() - between))
    return median(a for a, _ in times), median(b for _, b in times), median(a / b for a, b in times)


def merge_trees(repeats: int, interpreter: str | None) -> Iterator[str]:
    """Time merge trees; landscaper runs once, in its own environment."""
    small, large = surfaces(41), surfaces(500)
    todo = {f"merge tree 41×41, {kind}": surface for kind, surface in small.items()}
    todo["merge tree 41×41, constant"] = np.ones((41, 41))
    theirs: list[Any] = ["not run: no interpreter given by --landscaper"] * len(todo)
    if interpreter:
        with tempfile.TemporaryDirectory() as folder:
            names = [str(Path(folder) / f"{i}.npy") for i in range(len(todo))]
            for name, surface in zip(names, todo.values(), strict=True):
                np.save(name, surface)
            run = subprocess.run([interpreter, "-c", LANDSCAPER, *names], capture_output=True, text=True, check=False)
        failed = [f"not run: {(run.stderr.splitlines() or ['no message'])[-1]}"] * len(todo)
        theirs = json.loads(run.stdout) if run.returncode == 0 else failed
    todo |= {f"merge tree 500×500, {kind}": surface for kind, surface in large.items()}
    for (name, surface), peer in zip(todo.items(), [*theirs, None, None], strict=True):
        seconds = median(timed(partial(tda.merge_tree, surface)) for _ in range(repeats))
        found = f"minima: {len(tda.merge_tree(surface)):,}"
        if isinstance(peer, float):
            yield row(name, "landscaper", seconds, f"{peer * 1e3:,.0f}", f"{seconds / peer:.5f}", found)
        else:
            yield row(name, "landscaper" if peer else "–", seconds, peer or "–", "–", found)


def timed(function: Callable[[], Any]) -> float:
    """Time one call, in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def row(name: str, peer: str, seconds: float, theirs: str, ratio: str, note: str) -> str:
    """Format one line of the table."""
    return f"| {name} | {seconds * 1e3:.3g} | {peer} | {theirs} | {ratio} | {note} |"


def cpu() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Run all comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="repetitions of each comparison")
    parser.add_argument("--landscaper", metavar="PYTHON", help="interpreter of an environment with landscaper")
    options = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "gudhi", "persim"))
    print(
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, {cpu()}, Python {platform.python_version()}, {packages}\n"
    )
    print("| quantity | lrscape, ms | peer | peer, ms | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for name, peer, ours, theirs, difference in cases():
        apart_by = difference(ours(), theirs())  # also brings in what is imported late
        mine, other, ratio = compare(ours, theirs, options.repeats)
        print(row(name, peer, mine, f"{other * 1e3:.3g}", f"{ratio:.3f}", f"{apart_by:.1g}"), flush=True)
    for line in merge_trees(options.repeats, options.landscaper):
        print(line, flush=True)


if __name__ == "__main__":
    main()
