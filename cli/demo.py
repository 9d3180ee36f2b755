"""``lrscape demo``: both jobs of the package on real data, in under a minute."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import odd, positive_whole
from .output import Output, add_output_options

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface
    from .race import Outcome

EPILOG = """\
examples:
  lrscape demo                      into lrscape-demo/
  lrscape demo -o elsewhere --seed 3
  lrscape plot lrscape-demo/surface.npz --kind contour --log -o figures/
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="train with TopoLR, probe the checkpoint, plot",
        description="Train a small CNN on handwritten digits (a fifth of the training labels wrong) with a constant "
        "learning rate, a cosine and TopoLR; save TopoLR's checkpoint, load it again, probe the landscape around it "
        "and draw. Prints what it measured, whoever wins.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("-o", "--out", type=Path, default=Path("lrscape-demo"), help="folder (default: lrscape-demo)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and label noise (default: 0)")
    parser.add_argument("--steps", type=positive_whole, default=800, help="training steps per arm (default: 800)")
    parser.add_argument("--grid", type=odd, default=31, help="points a side, odd (default: 31)")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, save, load, probe, draw, and print a table.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.
    """
    import torch

    with Output(arguments) as output, _one_thread():
        start = time.perf_counter()
        out: Path = arguments.out
        out.mkdir(parents=True, exist_ok=True)
        outcomes = _train(arguments, output)
        checkpoint = out / "topo.pt"
        from ..landscape.files import atomic_write

        with atomic_write(checkpoint) as file:
            torch.save({"model": outcomes["TopoLR"].model.state_dict()}, file)
        surface, seconds = _probe(checkpoint, arguments, output)
        surface.save(out / "surface.npz")
        figures = _draw(outcomes, surface, out)
        total = time.perf_counter() - start
        rows = {name: _row(outcome) for name, outcome in outcomes.items()}
        record = {
            "arms": rows,
            "surface": {"points": len(surface), "seconds": seconds, "center": surface.center},
            "files": [str(path) for path in (checkpoint, out / "surface.npz", *figures)],
            "seconds": total,
        }
        output.result(record, _table(rows, outcomes, surface, seconds, out, total))
    return 0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: on a busy machine, two that wait for each other take ten times as long."""
    import torch

    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(kept)


def _train(arguments: argparse.Namespace, output: Output) -> dict[str, Outcome]:
    from tqdm.auto import tqdm

    from .digits import digits
    from .race import ARMS, train

    steps, data = max(arguments.steps, 20), digits()
    outcomes = {}
    with tqdm(total=len(ARMS) * steps, disable=not output.progress, desc="train", unit="step", leave=False) as bar:
        for arm in ARMS:
            outcomes[arm] = train(arm, data, steps, arguments.seed, bar.update)
    return outcomes


def _probe(checkpoint: Path, arguments: argparse.Namespace, output: Output) -> tuple[LossSurface, float]:
    import torch
    import torch.nn.functional as F

    from .. import landscape
    from . import digits

    # A fresh model and the file: what is probed is what was saved.
    model = digits.model()
    landscape.load_checkpoint(model, checkpoint)
    objective = landscape.Objective(
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        digits.data(arguments.seed),
        metrics={"accuracy": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).to(torch.float64).mean()},
    )
    directions = landscape.random_directions(model, 2, seed=arguments.seed)
    points = landscape.grid(arguments.grid, span=1.0)
    start = time.perf_counter()
    surface = landscape.evaluate(model, objective, directions, points, progress=output.progress)
    return surface, time.perf_counter() - start


def _draw(outcomes: dict[str, Outcome], surface: LossSurface, out: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from .. import viz

    paths = []
    topo = outcomes["TopoLR"]
    drawings: dict[str, Any] = {
        "contour": lambda ax: viz.contour(surface, ax, log=True, title="Training loss around the checkpoint"),
        "surface3d": lambda ax: viz.surface3d(surface, ax, log=True, title="Training loss around the checkpoint"),
        "lr_trace": lambda ax: viz.lr_trace(topo.scheduler, ax, rates=topo.rates, title="TopoLR"),  # type: ignore[arg-type]  # has a history
        "curves": lambda ax: viz.curves(
            {name: (outcome.steps, outcome.losses) for name, outcome in outcomes.items()},
            ax,
            xlabel="optimizer step",
            ylabel="test loss",
            log=True,
            title="Digits, a fifth of the training labels wrong",
        ),
    }
    for name, draw in drawings.items():
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        FigureCanvasAgg(figure)  # without pyplot: no window, no backend chosen, nothing left open
        draw(figure.add_subplot(projection="3d" if name == "surface3d" else None))
        paths.append(viz.save(figure, out / f"{name}.png", dpi=200))
    return paths


def _row(outcome: Outcome) -> dict[str, float]:
    return {
        "test_loss": outcome.losses[-1],
        "test_accuracy": outcome.accuracy,
        "final_rate": outcome.rates[-1],
        "seconds": outcome.seconds,
        "probe_overhead": outcome.probing / (outcome.seconds - outcome.probing),
    }


def _table(
    rows: dict[str, dict[str, float]],
    outcomes: dict[str, Outcome],
    surface: LossSurface,
    seconds: float,
    out: Path,
    total: float,
) -> list[tuple[str, str]]:
    head = f"{'test loss':>9}  {'accuracy':>8}  {'final rate':>10}  {'time':>7}  {'probes':>6}"
    lines = [("", head)]
    for name, row in rows.items():
        cells = (
            f"{row['test_loss']:>9.3f}  {100 * row['test_accuracy']:>6.1f} %  {row['final_rate']:>10.2e}  "
            f"{row['seconds']:>5.1f} s  {100 * row['probe_overhead']:>4.1f} %"
        )
        lines.append((name, cells))
    best = min(rows, key=lambda name: rows[name]["test_loss"])
    decisions = getattr(outcomes["TopoLR"].scheduler, "history", ())
    lines += [
        ("", ""),
        ("best", f"{best}, by test loss, on this one seed"),
        ("TopoLR", f"{len(decisions)} probes of 9 forward passes"),
        ("landscape", f"{len(surface)} points in {seconds:.1f} s; loss {surface.center:.3f} at the checkpoint"),
        ("files", f"{out}/: topo.pt, surface.npz, contour, surface3d, lr_trace and curves .png"),
        ("total", f"{total:.0f} s"),
    ]
    return lines
