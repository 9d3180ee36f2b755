"""Time probes on an accelerator against a loop of bare forward passes, in three precisions, and print a table.

    python -m lrscape.benchmarks.gpu [--device cuda] [--rounds 5] [--sides 5 51] [--batches 8 32 128]

Every cell is a median over rounds of (time of a grid, directions and all) / (time of as many bare forward passes, one
after the other, in the same precision, just before and after). One line per cell is added to
benchmarks/results/gpu.jsonl.
"""

from __future__ import annotations

import argparse
import datetime
import json
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import landscape
from ..landscape.precision import precision
from .engine_subject import MODELS
from .topocnn_cost import seconds

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {"autocast": None, "tf32": False},
    "TF32": {"autocast": None, "tf32": True},
    "bfloat16": {"autocast": torch.bfloat16, "tf32": None},
}
ENGINES: dict[str, dict[str, Any]] = {
    "auto": {"engine": "auto"},
    "batched": {"engine": "batched"},
    "inplace": {"engine": "inplace"},
    "inplace, CUDA graph": {"engine": "inplace", "cuda_graph": True},
}


def bare(model: nn.Module, x: Tensor, y: Tensor, count: int, how: dict[str, Any]) -> None:
    """Run forward passes and nothing else."""
    with torch.no_grad(), precision(x.device, how["autocast"], how["tf32"]):
        for _ in range(count):
            F.cross_entropy(model(x), y)


def grid_of(model: nn.Module, x: Tensor, y: Tensor, side: int, options: dict[str, Any]) -> landscape.LossSurface:
    """Make two directions and evaluate a grid."""
    objective = landscape.Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), [(x, y)])
    directions = landscape.random_directions(model, 2, seed=0, generator="device")
    return landscape.evaluate(model, objective, directions, landscape.grid(side), **options)


def ratios(
    model: nn.Module, batch: tuple[Tensor, Tensor], side: int, how: dict[str, Any], engine: dict[str, Any], rounds: int
) -> list[float]:
    """Measure grids against bare forward passes around them."""
    x, y = batch
    run = partial(grid_of, model, x, y, side, {**how, **engine})
    loop = partial(bare, model, x, y, side * side, how)
    grid_of(model, x, y, 3, {**how, **engine})  # kernels are chosen, and graphs' workspaces made, at the first call
    loop()
    found = []
    for _ in range(rounds):
        before, taken, after = (seconds(each, x.device) for each in (loop, run, loop))
        found.append(2 * taken / (before + after))
    return found


def main() -> None:
    """Measure every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[5, 51])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--models", nargs="+", default=["CifarNet", "CNN", "transformer"], choices=list(MODELS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else f"{device.type}, {torch.get_num_threads()} threads"
    common = {
        "device": name,
        "torch": str(torch.__version__),
        "date": str(datetime.datetime.now(tz=datetime.UTC).date()),
    }
    engines = {key: value for key, value in ENGINES.items() if cuda or "cuda_graph" not in value}
    kinds = {key: value for key, value in PRECISIONS.items() if cuda or key != "TF32"}
    print(f"{name}, torch {torch.__version__}\n\n| model | batch | grid | precision | {' | '.join(engines)} |")
    print("|---" * (4 + len(engines)) + "|")
    for model_name in options.models:
        make, data = MODELS[model_name]
        for size in options.batches:
            torch.manual_seed(0)
            model, batch = make().eval().to(device), tuple(part.to(device) for part in data(size))
            for side in options.sides:
                for kind, how in kinds.items():
                    cells = []
                    for engine, chosen in engines.items():
                        found = ratios(model, (batch[0], batch[1]), side, how, chosen, options.rounds)
                        cells.append(f"{median(found):.2f}")
                        place = {"model": model_name, "batch": size, "side": side, "precision": kind, "engine": engine}
                        with options.results.open("a", encoding="utf-8") as file:
                            file.write(json.dumps({**common, **place, "ratios": found}) + "\n")
                    print(f"| {model_name} | {size} | {side}×{side} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
