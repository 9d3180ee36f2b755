"""Does TopoLR act on a language model, does it end lower than a constant rate, and what does it cost?

Arms share weights, data and order for a seed, and a linear warmup over the first 100 steps. Every finished run is one
line of ``results/char_transformer.jsonl``; runs found there are not repeated.

    python -m lrscape.benchmarks.char_transformer [--peaks 8e-3 1.6e-2] [--seeds 0 1 2] [--steps 1500]
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from ..landscape.files import atomic_write
from ..schedulers import TopoLR
from .text import CharTransformer, loss_on, sample, standard_library

RESULTS = Path(__file__).parent / "results" / "char_transformer.jsonl"
WARMUP = 100
BATCH = 16


def run(arm: str, peak: float, seed: int, steps: int) -> dict[str, Any]:
    """Train once.

    Args:
        arm: "constant", "cosine", "topo" or "topo published".
        peak: Learning rate after the warmup.
        seed: Of weights and data.
        steps: Optimizer steps.

    Returns:
        Losses, times and decisions.
    """
    train, validation = standard_library()
    torch.manual_seed(seed)
    model = CharTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak)
    ramp = LinearLR(optimizer, 1 / WARMUP, total_iters=WARMUP)
    scheduler: LRScheduler = ramp
    if arm == "cosine":
        tail = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - WARMUP)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [ramp, tail], [WARMUP])
    elif arm.startswith("topo"):
        preset: Any = "published" if "published" in arm else "corrected"
        scheduler = TopoLR(optimizer, model, preset=preset, warmup=WARMUP - 1, interval=50, seed=seed, inner=ramp)
    stream = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(10**6)
    held_out = [sample(validation, 64, model.context, fixed) for _ in range(20)]
    probing = 0.0
    reads = {}
    spent = 0.0
    for t in range(1, steps + 1):
        start = time.perf_counter()
        batch = sample(train, BATCH, model.context, stream)
        loss = loss_on(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if isinstance(scheduler, TopoLR):
            before = time.perf_counter()
            scheduler.probe(lambda batch=batch: loss_on(model, batch))  # type: ignore[misc]  # bound for this step
            probing += time.perf_counter() - before
        scheduler.step()
        spent += time.perf_counter() - start
        if t in {steps // 4, steps // 2, steps}:
            with torch.no_grad():
                reads[str(t)] = sum(float(loss_on(model, batch)) for batch in held_out) / len(held_out)
    found: dict[str, Any] = {
        "arm": arm, "peak": peak, "seed": seed, "steps": steps, "validation": reads, "seconds": spent,
        "overhead": probing / (spent - probing), "torch": str(torch.__version__), "date": date.today().isoformat(),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    if isinstance(scheduler, TopoLR):
        found["final_factor"] = scheduler.factors[0]
        found["curvature"] = [round(decision.measurement["curvature"], 4) for decision in scheduler.history]
        found["roughness"] = scheduler.history[-1].measurement["roughness"]
    return found


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peaks", type=float, nargs="+", default=[4e-3, 8e-3, 1.6e-2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--arms", nargs="+", default=["constant", "cosine", "topo", "topo published"])
    options = parser.parse_args()
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for peak in options.peaks:
        for seed in options.seeds:
            for arm in options.arms:
                key = {"arm": arm, "peak": peak, "seed": seed, "steps": options.steps}
                if not any(key.items() <= entry.items() for entry in done):
                    done.append(run(**key))
                    with atomic_write(RESULTS) as file:
                        file.write("".join(json.dumps(entry) + "\n" for entry in done).encode())
    print("| peak | arm | validation loss, seeds | mean | overhead | final factor |\n|---|---|---|---|---|---|")
    for peak in options.peaks:
        for arm in options.arms:
            runs = [e for e in done if (e["arm"], e["peak"], e["steps"]) == (arm, peak, options.steps)]
            losses = [entry["validation"][str(options.steps)] for entry in runs]
            overhead = 100 * sum(entry["overhead"] for entry in runs) / len(runs)
            factors = " ".join(f"{e['final_factor']:.2f}" for e in runs if "final_factor" in e)
            print(
                f"| {peak:g} | {arm} | {' '.join(f'{loss:.3f}' for loss in losses)} | {sum(losses) / len(losses):.3f} "
                f"| {overhead:.1f} % | {factors} |"
            )


if __name__ == "__main__":
    main()
