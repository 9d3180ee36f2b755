"""Draw every kind of landscape on the demo's digits, and measure the adaptive grid against the full one.

Run as ``python -m lrscape.benchmarks.gallery FOLDER [--full SURFACE.npz]``; some minutes on one core, of which
the full 101×101 grid takes most. A surface of an earlier run can stand for it.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import landscape, viz
from ..cli import digits

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


def draw_trajectory(model: nn.Module, states: list[State], folder: Path) -> dict[str, Any]:
    """Draw the path of 50 checkpoints over the plane in which it moves most, and both losses along it."""
    start = time.perf_counter()
    made = landscape.trajectory(model, states)
    seconds = time.perf_counter() - start
    policy: Any = {"batch_norm": "recalibrate"}
    surface = landscape.evaluate(made.model, objective(), made.directions, made.points(31), **policy)
    viz.save(viz.contour(surface, path=made.path, log=True), folder / "trajectory.png")
    true = landscape.true_losses(model, objective(), states, **policy)
    projected = landscape.evaluate(
        made.model, objective(), made.directions, landscape.points(made.path), batch_norm="recalibrate"
    )
    shown = landscape.LossSurface(true.coordinates, projected.losses, true.shape)
    ax = viz.line([true, shown], labels=["the checkpoints' own loss", "of their projections"], log=True,
                  mark_center=False)  # fmt: skip
    ax.set_xlabel("checkpoint")
    viz.save(ax, folder / "trajectory_losses.png")
    return {
        "explained_variance": made.explained_variance.round(4).tolist(),
        "seconds": round(seconds, 2),
        "largest_distance_from_plane": round(float(made.distance.max()), 3),
        "largest_loss_ratio": round(float((projected.losses / true.losses).max()), 2),
    }


def draw_plane(minima: list[nn.Module], folder: Path) -> dict[str, Any]:
    """Draw the plane through three minima."""
    section = landscape.plane_through(minima[0], *minima)
    surface = landscape.evaluate(
        section.model, objective(), section.directions, section.points(31), batch_norm="recalibrate"
    )
    ax = viz.contour(surface, log=True, mark_minimum=False)
    for name, (x, y) in zip("abc", section.coordinates.tolist(), strict=True):
        ax.plot(x, y, "^", color="white", markeredgecolor="black")
        label = ax.annotate(f"minimum {name}", (x, y), (0, 7), textcoords="offset points", color="white", ha="center")
        label.set_in_layout(False)
    viz.save(ax, folder / "plane.png")
    at = landscape.evaluate(
        section.model, objective(), section.directions, landscape.points(section.coordinates), batch_norm="recalibrate"
    )
    line = landscape.line_between(minima[0], minima[0], minima[1])
    along = landscape.evaluate(
        line.model, objective(), line.directions, landscape.line(41, (-0.5, 1.5)), batch_norm="recalibrate"
    )
    viz.save(viz.line(along), folder / "line.png")
    return {
        "coordinates": section.coordinates.round(3).tolist(),
        "losses": at.losses.round(5).tolist(),
        "barrier": round(float(along.losses[10:31].max()), 3),
    }


def draw_layers(model: nn.Module, folder: Path) -> dict[str, Any]:
    """Draw one profile per layer."""
    layers = landscape.layer_directions(model, 1)
    surfaces = [
        landscape.evaluate(model, objective(), directions, landscape.line(41)) for directions in layers.values()
    ]
    names = [f"{name}: {type(model.get_submodule(name)).__name__}" for name in layers]
    viz.save(viz.line(surfaces, labels=names, log=True), folder / "layers.png")
    return {name: round(float(surface.losses.max()), 3) for name, surface in zip(names, surfaces, strict=True)}


def draw_cube(model: nn.Module, folder: Path) -> dict[str, Any]:
    """Draw three slices of a 3-D grid."""
    directions = landscape.random_directions(model, 3)
    cube = landscape.evaluate(model, objective(), directions, landscape.grid(13, dims=3))
    cube.save(folder / "cube.npz")
    for index in (0, 6, 12):
        third = cube.axes[2][index]
        ax = viz.contour(cube.values[:, :, index], axes=cube.axes[:2], label="loss", log=True, mark_center=index == 6,
                         limits=(float(cube.losses.min()), float(cube.losses.max())),
                         title=f"direction 3 at {third:+.1f}")  # fmt: skip
        viz.save(ax, folder / f"cube_{index}.png")
    return {"points": len(cube), "center": round(cube.center, 5), "highest": round(float(cube.losses.max()), 3)}


def draw_adaptive(model: nn.Module, folder: Path, full_path: Path | None) -> dict[str, Any]:
    """Compare adaptive grids with the full one."""
    directions = landscape.random_directions(model, 2)
    if full_path is None:
        full = landscape.evaluate(model, objective(), directions, landscape.grid(101))
        full.save(folder / "full.npz")
    else:
        full = landscape.LossSurface.load(full_path)
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
            ax = viz.contour(found, metric="measured", levels=2, colorbar=False, mark_minimum=False)
            viz.save(ax, folder / "adaptive_measured.png")
    return results


def main() -> None:
    """Draw everything and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", type=Path, help="full.npz of an earlier run")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model, states = train(0)
    minima = [model, train(1, 2)[0], train(2, 2)[0]]
    results = {
        "trajectory": draw_trajectory(model, states, arguments.folder),
        "plane": draw_plane(minima, arguments.folder),
        "layers": draw_layers(model, arguments.folder),
        "cube": draw_cube(model, arguments.folder),
        "adaptive": draw_adaptive(model, arguments.folder, arguments.full),
    }
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
