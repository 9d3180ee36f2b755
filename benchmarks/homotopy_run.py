"""One run of the curvature paper's experiments: train, watch the loss, the rate and what probing costs."""

from __future__ import annotations

import math
import time
from datetime import date
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..schedulers import CurvatureLR
from .homotopy_arms import ARMS, optimizer_for
from .study.training import measure, short
from .study.workloads.workload import Workload

KEPT = 60  # points of each curve
WINDOW, SPIKE = 25, 1.3  # a loss this many times the median of as many before it is a spike
GOAL = 0.9  # accuracy


def spikes(losses: NDArray[np.float64]) -> int:
    """Count how often the training loss leaves what was usual just before; consecutive steps count once.

    Args:
        losses: One per step; what is not finite is beyond everything.

    Returns:
        The number of times.
    """
    above = [not losses[t] <= SPIKE * float(np.nanmedian(losses[t - WINDOW : t])) for t in range(WINDOW, len(losses))]
    return sum(now and not before for before, now in zip([False, *above], above, strict=False))


def thinned(values: list[float]) -> list[float | None]:
    """Keep as many values as a figure needs, evenly spaced, to four digits; None for what is not finite."""
    if not values:
        return []
    places = np.unique(np.linspace(0, len(values) - 1, KEPT).round().astype(int))
    return [float(f"{values[i]:.4g}") if math.isfinite(values[i]) else None for i in places]


def run(workload: Workload, arm: str, rate: float, seed: int, steps: int, reading: int = 0) -> dict[str, Any]:
    """Train once.

    Args:
        workload: What.
        arm: What sets the rate.
        rate: Of the optimizer.
        seed: Of weights and batches.
        steps: Optimizer steps.
        reading: Steps between readings of the validation accuracy, or 0.

    Returns:
        Losses, curves and costs. Times are those of this thread, so that other processes do not count.
    """
    data = workload.data(seed)
    torch.manual_seed(seed)
    model = workload.model()
    optimizer = optimizer_for(arm, workload, model, rate)
    scheduler = ARMS[arm].make(optimizer, model, steps)
    batches = data.batches(workload.batch, torch.Generator().manual_seed(seed))
    losses: list[float] = []
    rates: list[float] = []
    spent = probing = 0.0
    reached: int | None = None
    for t in range(1, steps + 1):
        batch = next(batches)
        start = time.thread_time()
        if isinstance(scheduler, CurvatureLR):
            scheduler.probe(lambda batch=batch: workload.loss(model(batch[0]), batch[1]))  # type: ignore[misc]
        probing += time.thread_time() - start
        loss = workload.loss(model(batch[0]), batch[1])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
        spent += time.thread_time() - start
        if not math.isfinite(losses[-1]):
            break
        if reading and reached is None and t % reading == 0:
            found = measure(model, workload, data.validation)
            reached = t if (found["accuracy"] or 0.0) >= GOAL else None
    parts = {part: measure(model, workload, getattr(data, part)) for part in ("validation", "test")}
    late = np.asarray(losses[len(losses) // 2 :])
    record: dict[str, Any] = {
        "workload": workload.name, "arm": arm, "rate": rate, "seed": seed, "steps": steps,
        "diverged": not math.isfinite(losses[-1]), "steps_done": len(losses), "reached": reached,
        **{f"{part}_{name}": value for part, found in parts.items() for name, value in found.items()},
        "spikes": spikes(np.asarray(losses)),
        "spread": short(float(late.std() / late.mean())) if math.isfinite(losses[-1]) and late.mean() > 0 else None,
        "losses": thinned(losses), "rates": thinned(rates), "first_rate": rates[0],
        "seconds": round(spent, 3), "probing": round(probing, 3),
        "torch": str(torch.__version__), "date": date.today().isoformat(), "threads": torch.get_num_threads(),
    }  # fmt: skip
    if isinstance(scheduler, CurvatureLR):
        decisions = list(scheduler.history)
        record["probes"] = len(decisions)
        record["hvps"] = sum(decision.measurement["hvps"] for decision in decisions)
        record["curvature"] = thinned([decision.measurement[scheduler.criterion] for decision in decisions])
    return record
