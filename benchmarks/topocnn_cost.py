"""What does one decision of TopoCNN cost beyond its forward passes, in forward passes of the paper's CifarNet?

The decision is what follows the losses of the grid: diagrams, image, network. The training that comes with every 25th
probe is timed with a full buffer and divided by 25. CifarNet sees a generated batch of 128 images of 32×32; weights and
contents do not matter for the time. Each repetition times both in turn; medians are reported.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.topocnn_cost [--repeats 21] [--device cpu]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..landscape import LossSurface, grid
from ..schedulers import TopoCNNLR
from ..schedulers.topocnn_measurement import TopoCNNMeasurement, read_probe
from ..schedulers.topocnn_surfaces import balanced, rehearsal

BATCH = 128
PARAMETERS = 1_147_914
RETRAIN_EVERY = 25
PRESETS: dict[Literal["published", "corrected"], int] = {"published": 7, "corrected": 15}


def cifarnet() -> nn.Sequential:
    """Make the paper's CifarNet: three blocks of a convolution, and two linear layers."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10))


def seconds(function: Callable[[], Any], device: torch.device) -> float:
    """Time one call."""
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def surfaces(side: int, count: int) -> list[LossSurface]:
    """Make surfaces of all kinds, with as many pairs as synthetic ones have."""
    points = grid(side, 0.12)
    _, values, _ = balanced(count // 5, seed=11)
    middle = slice((15 - side) // 2, (15 + side) // 2)
    return [LossSurface(points.coordinates, v[middle, middle].ravel(), points.shape) for v in values]


def decisions(preset: Literal["published", "corrected"], device: torch.device, repeats: int) -> tuple[float, float]:
    """Time a decision without training, beside a forward pass; give both medians."""
    model = cifarnet().to(device)
    x = torch.randn(BATCH, 3, 32, 32, device=device)
    published = preset == "published"
    scheduler = TopoCNNLR(torch.optim.AdamW(model.parameters()), model, preset=preset, buffer_capacity=500)
    scheduler._trainer.ready = True  # else the published preset would not ask its network yet
    probes = surfaces(PRESETS[preset], max(repeats, 25))

    def forward() -> Tensor:
        with torch.no_grad():
            out: Tensor = model(x)
        return out

    def decide(probe: LossSurface) -> None:
        scheduler.observe(read_probe(probe, published=published))

    for probe in probes[:3]:
        forward()
        decide(probe)
    pairs = [(seconds(forward, device), seconds(lambda p=probe: decide(p), device)) for probe in probes[:repeats]]
    return median(a for a, _ in pairs), median(b for _, b in pairs)


def training(preset: Literal["published", "corrected"], device: torch.device) -> float:
    """Time one training with 500 images in the buffer."""
    model = nn.Linear(1, 1).to(device)
    scheduler = TopoCNNLR(torch.optim.SGD(model.parameters()), model, preset=preset, min_samples=499, retrain_every=499)
    probe = surfaces(PRESETS[preset], 5)[0]
    found: TopoCNNMeasurement = read_probe(probe, published=preset == "published")
    for _ in range(499):  # the last of them trains, which also warms up
        scheduler.observe(found)
    scheduler.observe(found)
    return seconds(scheduler._trainer._train, device)


def main() -> None:
    """Time both presets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    count = sum(parameter.numel() for parameter in cifarnet().parameters())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, numpy {np.__version__}")
    print(f"CifarNet with {count:,} parameters (paper: {PARAMETERS:,}), batch of {BATCH}")
    print(f"rehearsal set: {seconds(rehearsal, device):.2f} s, once in a process\n")
    print(
        "| preset | forward, ms | decision, ms | in forwards | one training, s | a probe's share of it, in forwards |"
    )
    print("|---|---|---|---|---|---|")
    for preset in PRESETS:
        forward, decision = decisions(preset, device, options.repeats)
        trained = training(preset, device)
        share = trained / RETRAIN_EVERY / forward
        print(
            f"| {preset}, {PRESETS[preset]}×{PRESETS[preset]} | {forward * 1e3:.1f} | {decision * 1e3:.2f} "
            f"| {decision / forward:.3f} | {trained:.2f} | {share:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
