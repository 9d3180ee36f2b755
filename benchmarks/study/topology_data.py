"""Runs that are probed on the way: what a plane says at a step, and whether validation then improves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from datetime import date
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrscape import tda
from lrscape.landscape import LossSurface, features, grid, quadratic_fit, random_directions
from lrscape.landscape.engines import Engine
from lrscape.landscape.features import neighbours, variance
from lrscape.landscape.sweep import sweep
from lrscape.tda.diagrams import lengths

from .arms import KINDS
from .arms.policy import Policy, Setting
from .configuration import Configuration
from .plan import Study
from .records import Record
from .training import measure, short, versions
from .workloads.workload import Batch, Data, Workload

AHEAD = 100  # steps between a probe and the validation loss that it shall foretell
PROBES = 15  # in a run, at most about
GRID = 15
SPANS = {"near": 0.12, "wide": 1.0}  # TopoLR's square, and one on which each filter moves by its own length
EXAMPLES, TARGETS = 16, 512  # of the training batch at most, to keep a probe cheap
ROUNDING = 1e-6  # of the centre's loss: shorter pairs are single precision, not landscape
ENGINES: dict[str, Engine] = {"transformer": "inplace"}  # batched takes 1.3 times as long there, elsewhere .25 to .3
FACTORS = (0.25, 1.0, 4.0)  # on the constant arm's tuned rate


def planned(study: Study) -> list[Configuration]:
    """List the runs: constant at three rates and cosine at its own, seed by seed, so that any part is balanced.

    Args:
        study: With the finished runs that settle the rates of the arms "constant" and "cosine".

    Returns:
        The configurations.

    Raises:
        ValueError: If a rate is not settled.
    """
    wanted = []
    for workload in study.workloads:
        for arm, factors in (("constant", FACTORS), ("cosine", (1.0,))):
            cell = study.cell(workload, arm)
            settled, rate = study.rate(cell)
            if not settled or rate is None:
                raise ValueError(f"the rate of {arm} on {workload} is not tuned yet: run the study first")
            wanted += [study.configuration(cell, factor * rate, 0) for factor in factors]
    return [replace(configuration, seed=seed) for seed in study.seeds for configuration in wanted]


def every(steps: int) -> int:
    """Give the steps from probe to probe: they divide 100, so that the loss 100 steps later is on the same raster.

    Args:
        steps: Of the run.

    Returns:
        The largest divisor of 100 at most a fifteenth of the steps.

    Example:
        >>> [every(steps) for steps in (240, 480, 1500)]
        [10, 25, 100]
    """
    return max(n for n in range(1, AHEAD + 1) if AHEAD % n == 0 and n <= max(1, steps // PROBES))


def part(batch: Batch) -> Batch:
    """Take the first examples of a batch, as many as hold 512 targets, but at most 16."""
    x, y = batch
    size = max(1, min(EXAMPLES, TARGETS * len(y) // y.numel()))
    return x[:size], y[:size]


def barcode(diagram: NDArray[np.float64], center: float) -> dict[str, float]:
    """Summarise the finite pairs of a diagram.

    Args:
        diagram: Pairs (birth, death), shape (n, 2).
        center: Loss at the origin; pairs shorter than a millionth of it are rounding and left out.

    Returns:
        Their number, the sum of their lengths and the largest in units of the loss, and their entropy in nats.

    Example:
        >>> barcode(np.array([[0.0, np.inf], [0.5, 1.0], [0.7, 0.7 + 1e-9]]), 1.0)
        {'pairs': 1.0, 'total': 0.5, 'largest': 0.5, 'entropy': 0.0}
    """
    finite = diagram[np.isfinite(diagram[:, 1])]
    kept = finite[lengths(finite) > ROUNDING * abs(center)]
    return {
        "pairs": float(len(kept)),
        "total": tda.total_persistence(kept),
        "largest": tda.max_persistence(kept),
        "entropy": tda.persistence_entropy(kept),
    }


def around(surface: LossSurface) -> dict[str, float]:
    """Describe the nine points in the middle, at the distance of TopoLR's stencil on the near square."""
    found = features(surface)
    return {
        "loss": found.center,
        "sharpness": found.sharpness,
        "variance": variance([found.center, *neighbours(surface)]),
        "curvature": float(found.fit.eigenvalues[-1]),
        "roughness": found.fit.roughness,
        "relative_roughness": found.fit.relative_roughness,
    }


def whole(surface: LossSurface) -> dict[str, Any]:
    """Describe a dense square: its topology, and without topology the loss at its border and what is no bowl in it.

    The essential class of H0 is born at the lowest loss and ends at the highest, as in the published image.
    """
    values, center = surface.values, surface.center
    border = np.ones(values.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    diagrams = tda.persistence(values)
    return {
        "h0": barcode(diagrams[0], center),
        "h1": barcode(diagrams[1], center),
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "border": float(values[border].mean()),
        "relative_roughness": quadratic_fit(surface.coordinates, surface.losses).relative_roughness,
    }


def probe(
    model: nn.Module, closure: Callable[[], Tensor], seed: tuple[int, int], engine: Engine = "batched"
) -> dict[str, Any]:
    """Measure a fresh random plane at two scales; the model stays bitwise what it was.

    Args:
        model: The model.
        closure: Gives the loss.
        seed: Of the directions.
        engine: See :func:`lrscape.landscape.evaluate`.

    Returns:
        Numbers by name, in nested dictionaries; None for what is not finite.
    """
    directions = random_directions(model, 2, seed=seed)
    surfaces = {
        name: sweep(model, closure, directions, grid(GRID, span), engine=engine) for name, span in SPANS.items()
    }
    found: dict[str, Any] = around(surfaces["near"])
    found |= {name: whole(surface) for name, surface in surfaces.items()}
    rounded: dict[str, Any] = recordable(found)
    return rounded


def recordable(value: Any) -> Any:
    """Round the numbers in nested dictionaries to seven digits; None stands for one that is not finite."""
    if isinstance(value, dict):
        return {name: recordable(one) for name, one in value.items()}
    return short(value) if math.isfinite(value) else None


def train(
    configuration: Configuration,
    workload: Workload,
    watch: Callable[[int, nn.Module, Batch, Data, Policy], None],
) -> tuple[nn.Module, int, bool]:
    """Train as :func:`lrscape.benchmarks.study.training.run` does, without its readings.

    Args:
        configuration: What to run, of a kind that is a function of time.
        workload: The one that it names.
        watch: Is called after each step, with its number, the model, the batch just used, the data and the policy.

    Returns:
        The model, the steps done, and whether the loss ceased to be finite.
    """
    data = workload.data(configuration.seed)
    torch.manual_seed(configuration.seed)
    model = workload.model().to(workload.device)

    def refuse(*_: object) -> Any:
        raise TypeError(f"only kinds that are functions of time are probed here, got {configuration.kind!r}")

    setting = Setting.of(model, configuration, workload, refuse, refuse)
    policy = KINDS[configuration.kind].make(setting)
    batches = data.batches(configuration.batch, torch.Generator().manual_seed(configuration.seed))
    for step in range(1, configuration.length + 1):
        batch = next(batches)
        policy.before(batch)
        value = float(policy.backward(batch, setting.closure(batch)))
        policy.step(value)
        policy.after(batch, value)
        if not math.isfinite(value):
            return model, step, True
        watch(step, model, batch, data, policy)
    return model, configuration.length, False


def run(configuration: Configuration, workload: Workload) -> Record:
    """Train once, and probe on the way.

    Args:
        configuration: What to run.
        workload: The one that it names.

    Returns:
        What the line in the results says. A probe's "validation" and "later" are the validation losses at its step
        and 100 steps later; None if not finite, as of a run that has diverged.
    """
    apart, losses, probes, seconds = every(configuration.length), {}, [], 0.0
    engine = ENGINES.get(workload.name, "batched")

    def watch(step: int, model: nn.Module, batch: Batch, data: Data, policy: Policy) -> None:
        nonlocal seconds
        if step % apart:
            return
        start = time.process_time()
        losses[step] = measure(model, workload, data.validation)["loss"]
        if step + AHEAD <= configuration.length:
            x, y = part(batch)
            found = probe(model, lambda: workload.loss(model(x), y), (configuration.seed, step), engine)
            probes.append({"step": step, "rate": short(policy.rate()), **found})
        seconds += time.process_time() - start

    start = time.process_time()
    _, done, diverged = train(configuration, workload, watch)
    for one in probes:
        one |= {"validation": losses[one["step"]], "later": losses.get(one["step"] + AHEAD)}
    return {
        **asdict(configuration),
        "finished": True,
        "diverged": diverged,
        "steps_done": done,
        "every": apart,
        "ahead": AHEAD,
        "grid": GRID,
        "spans": SPANS,
        "engine": engine,
        "probes": probes,
        "cpu": round(time.process_time() - start, 4),
        "probes_cpu": round(seconds, 4),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "date": date.today().isoformat(),
    }


def missing(study: Study, done: Collection[Configuration]) -> list[Configuration]:
    """List the planned runs that are not there."""
    return [configuration for configuration in planned(study) if configuration not in done]
