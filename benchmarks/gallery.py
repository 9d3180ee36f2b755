"""Draw every kind of landscape on the demo's digits, and measure the adaptive grid against the full one.

Run as ``python -m lrscape.benchmarks.gallery FOLDER [--surfaces FOLDER]``; some minutes on one core, most of which the
surfaces take, the full 101×101 grid before all, so that those of an earlier run can stand for them.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor, nn

from .. import landscape, viz
from ..cli import digits
from ..landscape import LossSurface

State = dict[str, Tensor]


def accuracy(model: nn.Module, batch: Any) -> Tensor:
    """Compute the share of right answers."""
    return (model(batch[0]).argmax(1) == batch[1]).double().mean()


def objective() -> landscape.Objective:
    """Make the loss over the training set, with its right labels."""
    data = digits.digits()
    batches = list(zip(torch.split(data.x, 400), torch.split(data.y, 400), strict=True))
    return landscape.Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), batches, {"accuracy": accuracy})


def train(seed: int, checkpoints: int = 50, epochs: int = 15) -> tuple[nn.Module, list[State]]:
    """Train for a second or two, keeping states at equal intervals, the first before any step."""
    torch.manual_seed(seed)
    model, data = digits.model(), digits.digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = [index for _ in range(epochs) for index in torch.randperm(len(data.x)).split(64)]
    keep = set(np.linspace(0, len(batches), checkpoints).round().astype(int).tolist())
    states = []
    for step in range(len(batches) + 1):
        if step in keep:
            states.append(copy.deepcopy(model.state_dict()))
        if step < len(batches):
            optimizer.zero_grad()
            F.cross_entropy(model(data.x[batches[step]]), data.y[batches[step]]).backward()
            optimizer.step()
    return model.eval(), states


def kept(file: Path, measure: Callable[[], LossSurface]) -> LossSurface:
    """Read what an earlier run has saved, or measure and save it."""
    if not file.exists():
        measure().save(file)
    return LossSurface.load(file)


def draw_trajectory(model: nn.Module, states: list[State], folder: Path, saved: Path) -> dict[str, Any]:
    """Draw the path of 50 checkpoints over the plane in which it moves most, and both losses along it."""
    start = time.perf_counter()
    made = landscape.trajectory(model, states)
    seconds = time.perf_counter() - start
    policy: Any = {"batch_norm": "recalibrate"}
    surface = kept(
        saved / "trajectory.npz",
        lambda: landscape.evaluate(made.model, objective(), made.directions, made.points(31), **policy),
    )
    viz.save(viz.trajectory(surface, run=made, log=True), folder / "trajectory.png")
    true = kept(saved / "true.npz", lambda: landscape.true_losses(model, objective(), states, **policy))
    projected = kept(
        saved / "projected.npz",
        lambda: landscape.evaluate(
            made.model, objective(), made.directions, landscape.points(made.path), batch_norm="recalibrate"
        ),
    )
    checkpoints = range(len(states))
    both = {"of the checkpoints": true, "of their projections": projected}
    series = {name: (checkpoints, found.losses) for name, found in both.items()}
    viz.save(viz.curves(series, xlabel="checkpoint", log=True), folder / "trajectory_losses.png")
    return {
        "explained_variance": made.explained_variance.round(4).tolist(),
        "seconds": round(seconds, 2),
        "largest_distance_from_plane": round(float(made.distance.max()), 3),
        "largest_loss_ratio": round(float((projected.losses / true.losses).max()), 2),
    }


def draw_plane(minima: list[nn.Module], folder: Path, saved: Path) -> dict[str, Any]:
    """Draw the plane through three minima, and the line between two of them."""
    section = landscape.plane_through(minima[0], *minima)
    policy: Any = {"batch_norm": "recalibrate"}
    surface = kept(
        saved / "plane.npz",
        lambda: landscape.evaluate(section.model, objective(), section.directions, section.points(31), **policy),
    )
    own = kept(saved / "own.npz", lambda: landscape.true_losses(minima[0], objective(), minima, **policy)).losses
    names = [f"seed {seed}" for seed in range(len(minima))]
    ax = viz.plane(surface, anchors=section.coordinates, names=names, losses=own, log=True)
    viz.save(ax, folder / "plane.png")
    between = landscape.line_between(minima[0], minima[0], minima[1])
    points = landscape.line(41, (-0.5, 1.5))
    along = kept(
        saved / "line.npz",
        lambda: landscape.evaluate(between.model, objective(), between.directions, points, **policy),
    )
    ax = viz.line(along, log=True, mark_center=False, title="from seed 0 (at 0) to seed 1 (at 1)")
    viz.save(ax, folder / "line.png")
    return {
        "coordinates": section.coordinates.round(3).tolist(),
        "losses": own.round(5).tolist(),
        "barrier": round(float(along.losses[10:31].max()), 3),
    }


def draw_layers(model: nn.Module, folder: Path, saved: Path) -> dict[str, Any]:
    """Draw one profile per layer."""
    layers = landscape.layer_directions(model, 1)
    surfaces = [
        kept(
            saved / f"layer_{name}.npz",
            lambda along=along: landscape.evaluate(model, objective(), along, landscape.line(41)),  # type: ignore[misc]
        )
        for name, along in layers.items()
    ]
    names = [f"{name}: {type(model.get_submodule(name)).__name__}" for name in layers]
    viz.save(viz.line(surfaces, labels=names, log=True), folder / "layers.png")
    return {name: round(float(surface.losses.max()), 3) for name, surface in zip(names, surfaces, strict=True)}


def slice_of(cube: LossSurface, index: int) -> LossSurface:
    """Cut a 3-D surface where its third coordinate has an index; what it tells about its directions stays."""
    first, second, third = cube.axes
    flat = np.stack(np.meshgrid(first, second, indexing="ij"), -1).reshape(-1, 2)
    told = {**cube.provenance, "third_coordinate": float(third[index])}
    return LossSurface(flat, cube.values[:, :, index].ravel(), (len(first), len(second)), provenance=told)


def draw_cube(model: nn.Module, folder: Path, saved: Path) -> dict[str, Any]:
    """Draw three slices of a 3-D grid."""
    directions = landscape.random_directions(model, 3)
    cube = kept(
        saved / "cube.npz",
        lambda: landscape.evaluate(model, objective(), directions, landscape.grid(13, dims=3)),
    )
    limits = (float(cube.losses.min()), float(cube.losses.max()))
    for index in (0, 6, 12):
        ax = viz.contour(slice_of(cube, index), log=True, mark_center=index == 6, limits=limits,
                         title=f"direction 3 at {cube.axes[2][index]:.1f}")  # fmt: skip
        viz.save(ax, folder / f"cube_{index}.png")
    return {"points": len(cube), "center": round(cube.center, 5), "highest": round(float(cube.losses.max()), 3)}


def draw_adaptive(model: nn.Module, folder: Path, saved: Path) -> dict[str, Any]:
    """Compare adaptive grids with the full one."""
    directions = landscape.random_directions(model, 2)
    full = kept(saved / "full.npz", lambda: landscape.evaluate(model, objective(), directions, landscape.grid(101)))
    results = {}
    for name, options in {"loss": {}, "log loss": {"log": True}, "loss, tolerance 3e-4": {"tolerance": 3e-4}}.items():
        start = time.perf_counter()
        found = landscape.evaluate_adaptive(model, objective(), directions, **options)
        seconds = time.perf_counter() - start
        a, b = (np.log(found.losses), np.log(full.losses)) if "log" in name else (found.losses, full.losses)
        results[name] = {
            "measured": found.provenance["adaptive"]["measured"],
            "share": round(found.provenance["adaptive"]["measured"] / len(found), 4),
            "largest_error_of_range": round(float(np.abs(a - b).max() / np.ptp(b)), 6),
            "accuracy_error": round(float(np.abs(found.metrics["accuracy"] - full.metrics["accuracy"]).max()), 4),
            "seconds": round(seconds, 1),
        }
        if "log" in name:
            viz.save(viz.contour(found, log=True), folder / "adaptive.png")
            viz.save(viz.contour(full, log=True), folder / "full.png")
            viz.save(draw_measured(found), folder / "adaptive_measured.png")
    return results


def draw_measured(surface: LossSurface, ax: Axes | None = None) -> Axes:
    """Draw the points that an adaptive grid has measured over the isolines of what it found."""
    taken = surface.metrics["measured"] > 0
    ax = viz.contour(surface, ax, log=True, mark_minimum=False, mark_center=False,
                     title=f"{int(taken.sum()):,} of {len(surface):,} points measured")  # fmt: skip
    ax.plot(*surface.coordinates[taken].T, ".", color="white", markersize=1.5, markeredgewidth=0)
    return ax


def asked_folders(description: str | None) -> tuple[Path, Path]:
    """Read from the command line where figures go and where surfaces are kept, and make both folders.

    Args:
        description: What the program does.

    Returns:
        The folder of the figures and that of the surfaces.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--surfaces", type=Path, help="where surfaces are kept (default: FOLDER)")
    arguments = parser.parse_args()
    folders = arguments.folder, arguments.surfaces or arguments.folder
    for needed in folders:
        needed.mkdir(parents=True, exist_ok=True)
    return folders


def main() -> None:
    """Draw everything and print the figures as JSON."""
    folder, saved = asked_folders(__doc__)
    torch.set_num_threads(1)
    model, states = train(0)
    minima = [model, train(1, 2)[0], train(2, 2)[0]]
    results = {
        "trajectory": draw_trajectory(model, states, folder, saved),
        "plane": draw_plane(minima, folder, saved),
        "layers": draw_layers(model, folder, saved),
        "cube": draw_cube(model, folder, saved),
        "adaptive": draw_adaptive(model, folder, saved),
    }
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
