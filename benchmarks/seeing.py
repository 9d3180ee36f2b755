"""Draw a training run in every way that lrscape.viz knows, and measure what the larger files cost.

A small perceptron is trained on scikit-learn's digits with TopoLR, and 30 of its checkpoints are probed on 51×51 points
each. Run as ``python -m lrscape.benchmarks.seeing FOLDER [--surfaces FOLDER]``; some minutes on one core, most of which
the surfaces take, so that those of an earlier run can stand for them.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.animation import FFMpegWriter
from torch import Tensor, nn

from .. import landscape, viz
from ..cli.digits import digits
from ..landscape import LossSurface
from ..schedulers import TopoLR
from .gallery import asked_folders

STEPS, CHECKPOINTS, SIDE, SEEDS = 600, 30, 51, 5


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Compute the mean cross-entropy of a batch."""
    return F.cross_entropy(model(batch[0]), batch[1])


def objective() -> landscape.Objective:
    """Make the loss on four batches of the training set."""
    data = digits()
    return landscape.Objective(loss, list(zip(data.x[:400].split(100), data.y[:400].split(100), strict=True)))


def network(seed: int) -> nn.Sequential:
    """Make the perceptron."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
        )


def train(seed: int, *, steered: bool, keep: set[int]) -> dict[str, Any]:
    """Train once; keep states, test losses every 20 steps, and rates."""
    data, model = digits(), network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = TopoLR(optimizer, model, interval=20, warmup=20) if steered else None
    stream = torch.Generator().manual_seed(seed)
    states: list[dict[str, Tensor]] = []
    steps: list[int] = []
    losses: list[float] = []
    rates: list[float] = []
    for step in range(STEPS + 1):
        if step in keep:
            states.append(copy.deepcopy(model.state_dict()))
        if step % 20 == 0:
            with torch.no_grad():
                steps.append(step)
                losses.append(loss(model, (data.x_test, data.y_test)).item())
        rates.append(optimizer.param_groups[0]["lr"])
        batch = torch.randint(len(data.x), (64,), generator=stream)
        x, y = data.x[batch], data.y[batch]
        optimizer.zero_grad()
        torch.autograd.backward(loss(model, (x, y)))
        optimizer.step()
        if scheduler is not None:
            scheduler.probe(lambda x=x, y=y: loss(model, (x, y)))  # type: ignore[misc]  # this batch
            scheduler.step()
    return {"model": model, "states": states, "steps": steps, "losses": losses, "rates": rates, "scheduler": scheduler}


def probe(states: list[dict[str, Tensor]], folder: Path) -> list[LossSurface]:
    """Measure the landscape around each state, along the same random numbers; read what an earlier run has saved."""
    surfaces = []
    for number, state in enumerate(states):
        file = folder / f"surface_{number:02d}.npz"
        if not file.exists():
            model = network(0)
            model.load_state_dict(state)
            directions = landscape.random_directions(model, 2, seed=0)
            landscape.evaluate(model, objective(), directions, landscape.grid(SIDE)).save(file)
        surfaces.append(LossSurface.load(file))
    return surfaces


def plane_of(states: list[dict[str, Tensor]], file: Path, side: int) -> tuple[LossSurface, landscape.Trajectory]:
    """Measure the principal plane of the run."""
    run = landscape.trajectory(network(0), states)
    if not file.exists():
        landscape.evaluate(run.model, objective(), run.directions, run.points(side)).save(file)
    return LossSurface.load(file), run


def timed(make: Callable[[], Path]) -> dict[str, float]:
    """Make a file; tell the time that it took this process, and its size."""
    start = time.process_time()
    path = make()
    return {"cpu_seconds": round(time.process_time() - start, 2), "megabytes": round(path.stat().st_size / 1e6, 3)}


def main() -> None:
    """Draw everything, and print the figures as JSON."""
    folder, kept = asked_folders(__doc__)
    torch.set_num_threads(1)
    times = np.linspace(0, STEPS, CHECKPOINTS).round().astype(int)
    run = train(0, steered=True, keep=set(times.tolist()))
    surfaces = probe(run["states"], kept)
    plane, found = plane_of(run["states"], kept / "run_plane.npz", 101)
    names = [f"step {step}" for step in times]
    rates = (np.arange(STEPS + 1), run["rates"])
    told = {"log": True, "steps": times, "losses": (run["steps"], run["losses"]), "rates": rates}
    chosen = [0, 2, 5, 10, 20, 29]

    def save(drawn: Any, name: str) -> None:
        viz.save(drawn, folder / f"seeing_{name}.png", dpi=160)

    save(viz.trajectory(plane, run=found, log=True, names=[str(step) for step in times]), "trajectory")
    few = [surfaces[i] for i in chosen]
    save(viz.multiples(few, labels=[names[i] for i in chosen], log=True, across=6), "multiples")
    save(viz.compare([few[1], few[-1]], labels=[names[2], names[-1]], log=True, kind="surface"), "compare")
    with viz.theme("dark"):
        save(viz.surface3d(plane, log=True, path=found.path), "dark")
    groups = {
        name: ([*range(0, STEPS + 1, 20)], [train(s, steered=steered, keep=set())["losses"] for s in range(SEEDS)])
        for name, steered in (("TopoLR", True), ("constant rate", False))
    }
    save(viz.bands(groups, log=True, label="test loss"), "bands")
    results = {
        "html, one surface of 101×101": timed(
            lambda: viz.to_html(plane, folder / "one.html", log=True, track=found.path, title="A run on its plane")
        ),
        "html, 30 of 51×51": timed(lambda: viz.to_html(surfaces, folder / "many.html", log=True, labels=names)),
        "gif, 30 of 51×51": timed(lambda: viz.animate(surfaces, folder / "run.gif", **told)),
        "gif, 30 of 51×51 in perspective": timed(
            lambda: viz.animate(surfaces, folder / "run3d.gif", kind="surface", **told)
        ),
        "vti, one surface of 101×101": timed(lambda: viz.to_vti(plane, folder / "plane.vti")),
    }
    viz.animate(plane, folder / "seeing_run.gif", track=found.path, dpi=70, **told)
    if FFMpegWriter.isAvailable():
        results["mp4, 30 of 51×51"] = timed(lambda: viz.animate(surfaces, folder / "run.mp4", **told))
    shares = found.explained_variance.round(4).tolist()
    size = sum(parameter.numel() for parameter in run["model"].parameters())
    record = {"files": results, "explained_variance": shares, "parameters": size}
    print(json.dumps(record, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
