"""How much memory does a probe take beside the model, and how long does a point take?

A decoder with a large embedding that is also its output, as language models have, is scanned along two random
directions; making them counts. What is counted are the bytes of tensors alive at one time beside parameters and data:
the most in a scan, less the most in a bare forward pass, or the most in a scan whose loss needs no forward pass, where
that is more. A backup that is mapped from a file counts only as far as it is being copied. The goals: with
memory="normal" three times the parameters, and with memory="low" a fifth of them, or 64 MiB where that is more.

    OMP_NUM_THREADS=2 python -m lrscape.benchmarks.memory [--width 1024 --layers 12 --codes 152064] [--device cuda]

One line per mode is added to benchmarks/results/memory.jsonl.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import landscape
from .live_tensors import peak_bytes
from .topocnn_cost import seconds

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
MIB = 2**20
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Block(nn.Module):
    """Attention and a wide layer, each with a norm before and a shortcut around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x of shape (batch, length, width)."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.first(x)).chunk(3, -1)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        wide: Tensor = self.down(F.gelu(self.up(self.second(x))))
        return x + wide


class Decoder(nn.Module):
    """A stack of blocks between an embedding and itself."""

    def __init__(self, codes: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(codes, width)
        self.blocks = nn.ModuleList(Block(width, width // 64) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Give logits for codes of shape (batch, length)."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embed.weight)


def subject(options: argparse.Namespace, device: torch.device) -> tuple[Decoder, Tensor]:
    """Make the model with small random weights, and a batch."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Decoder(options.codes, options.width, options.layers).to(DTYPES[options.dtype]).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
        codes = torch.randint(options.codes, (options.batch, options.length))
    return model, codes


def scan(
    model: nn.Module,
    loss: Callable[[], Tensor],
    memory: Literal["normal", "low"],
    generator: Literal["cpu", "device"],
    points: landscape.Points,
) -> landscape.LossSurface:
    """Make two directions and evaluate the points."""
    directions = landscape.random_directions(model, 2, seed=0, generator=generator, memory=memory)
    return landscape.evaluate(model, loss, directions, points, engine="inplace")


def point_seconds(run: Callable[[landscape.Points], object], device: torch.device, few: int, many: int) -> float:
    """Time a point, as the difference between a long and a short scan, so that making directions does not count."""
    short, long = (partial(run, landscape.points(spread(n))) for n in (few, many))
    return (seconds(long, device) - seconds(short, device)) / (many - few)


def spread(count: int) -> Tensor:
    """Put points on a spiral: both coordinates differ from zero at each, as nearly everywhere on a grid."""
    turn = torch.arange(1, count + 1, dtype=torch.float64)
    return torch.stack([turn.sin(), turn.cos()], 1) * 0.1


def main() -> None:
    """Measure both modes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=152_064)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--points", type=int, default=6, help="points of the timed scan")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--generator", choices=["cpu", "device"], default="cpu")
    parser.add_argument("--modes", default="normal,low")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    device = torch.device(options.device)
    model, codes = subject(options, device)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    count = sum(parameter.numel() for parameter in model.parameters())
    known = [*model.parameters(), codes]

    def loss() -> Tensor:
        return F.cross_entropy(model(codes[:, :-1]).flatten(0, 1).float(), codes[:, 1:].flatten())

    def forward() -> None:
        with torch.no_grad():
            loss()

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    common: dict[str, Any] = {
        "parameters": count,
        "bytes": size,
        "dtype": options.dtype,
        "device": name,
        "generator": options.generator,
        "batch": [options.batch, options.length],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
    embedding = model.embed.weight.numel() / count
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"decoder with {count:,} parameters, {size / MIB:,.0f} MiB, {embedding:.0%} of them one embedding\n")
    bare = peak_bytes(forward, known)
    forward_seconds = median(seconds(forward, device) for _ in range(5))
    print(f"bare forward pass: {bare / MIB:,.0f} MiB beside the model, {forward_seconds:.2f} s\n")
    print("| memory | extra, MiB | × parameters | goal, MiB | s per point | × forward |")
    print("|---|---|---|---|---|---|")
    for mode in options.modes.split(","):
        run = partial(scan, model, loss, mode, options.generator)
        two = landscape.points(spread(2))
        within = peak_bytes(partial(run, two), known) - bare
        between = peak_bytes(partial(scan, model, model.norm.weight.sum, mode, options.generator, two), known)
        extra = max(within, between)
        gc.collect()
        goal = 3 * size if mode == "normal" else max(0.2 * size, 64 * MIB)
        each = point_seconds(run, device, 2, options.points)
        print(
            f"| {mode} | {extra / MIB:,.0f} | {extra / size:.3f} | {goal / MIB:,.0f} | {each:.2f} "
            f"| {each / forward_seconds:.2f} |",
            flush=True,
        )
        record = {"memory": mode, "extra_bytes": extra, "goal_bytes": int(goal), "seconds_per_point": each}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            run(two)
            record["allocator_bytes"] = torch.cuda.max_memory_allocated(device) - before
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**common, **record, "forward_seconds": forward_seconds, "forward_bytes": bare}))
            file.write("\n")


if __name__ == "__main__":
    main()
