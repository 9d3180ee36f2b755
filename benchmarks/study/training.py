"""One run: train, read losses at the read-off points, and say what it cost."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from functools import cache
from importlib import metadata
from typing import Any

import torch
from torch import nn

from .arms import KINDS
from .arms.policy import Policy, Setting
from .configuration import Configuration
from .workloads.workload import Batch, Data, Workload

READINGS = (0.25, 0.5, 1.0)  # of the budget
MARKS = 10  # how often rate and times are recorded
PACKAGES = ("torch", "numpy", "scikit-learn", "schedulefree", "prodigyopt")


class Passes:
    """Count the forward passes of a model while it is not being evaluated.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.passes = self.examples = 0
        self._counting = True
        model.register_forward_pre_hook(self._seen)

    def _seen(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._counting:
            self.passes += 1
            self.examples += len(inputs[0])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count for a while."""
        self._counting = False
        try:
            yield
        finally:
            self._counting = True


class Clock:
    """Add up wall-clock and processor time, apart for the arm's own work."""

    def __init__(self) -> None:
        self._seconds = {"wall": 0.0, "cpu": 0.0, "arm_wall": 0.0, "arm_cpu": 0.0}

    @contextmanager
    def running(self, part: str = "") -> Iterator[None]:
        """Count what happens here."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._seconds[f"{part}wall"] += time.perf_counter() - wall
        self._seconds[f"{part}cpu"] += time.process_time() - cpu

    @property
    def seconds(self) -> dict[str, float]:
        """Give the sums by name, in tenths of milliseconds."""
        return {name: round(value, 4) for name, value in self._seconds.items()}


def measure(model: nn.Module, workload: Workload, batches: Sequence[Batch]) -> dict[str, float | None]:
    """Average loss and accuracy over held-out batches in eval mode.

    Args:
        model: The model; its modes are put back.
        workload: Says what the loss is.
        batches: Held-out data.

    Returns:
        Loss and accuracy; None for a loss that is not finite.
    """
    training = model.training
    model.eval()
    loss = right = count = 0.0
    with torch.no_grad():
        for batch in batches:
            output, size = model(batch[0]), len(batch[0])
            loss += float(workload.loss(output, batch[1])) * size
            right += float(workload.accuracy(output, batch[1])) * size
            count += size
    model.train(training)
    return {"loss": short(loss / count) if math.isfinite(loss) else None, "accuracy": short(right / count)}


def short(value: float) -> float:
    """Keep seven digits, which is what single precision has."""
    return float(f"{value:.7g}")


def read(model: nn.Module, workload: Workload, data: Data, policy: Policy) -> dict[str, Any]:
    """Measure the optimizer's weights and the arm's average on validation and test data."""
    contexts = {"raw": policy.plain(), "average": policy.averaged()}
    found: dict[str, Any] = {}
    for weights, context in contexts.items():
        if context is not None:
            with context:
                found[weights] = {
                    part: measure(model, workload, getattr(data, part)) for part in ("validation", "test")
                }
    return found


def run(configuration: Configuration, workload: Workload) -> dict[str, Any]:
    """Train once.

    Args:
        configuration: What to run.
        workload: The one that it names.

    Returns:
        What the line in the results says.
    """
    data = workload.data(configuration.seed)
    torch.manual_seed(configuration.seed)
    model = workload.model().to(workload.device)
    passes, clock = Passes(model), Clock()
    stream = torch.Generator().manual_seed(configuration.seed)
    monitored = data.validation[:2]

    def monitor() -> float:
        found = measure(model, workload, monitored)["loss"]
        return math.inf if found is None else found

    def training_batches(number: int) -> list[Batch]:
        batches = data.batches(configuration.batch, torch.Generator().manual_seed(configuration.seed + 10**6))
        return [next(batches) for _ in range(number)]

    kind = KINDS[configuration.kind]

    with clock.running(), clock.running("arm_"):
        setting = Setting.of(model, configuration, workload, monitor, training_batches)
        policy = kind.make(setting)
    early = () if kind.knows_horizon else READINGS
    readings = {round(share * configuration.steps) for share in early} | {configuration.length}
    batches = data.batches(configuration.batch, stream)
    reads: dict[str, Any] = {}
    marks: list[dict[str, float]] = []
    diverged, step = False, 0
    for step in range(1, configuration.length + 1):
        with clock.running():
            batch = next(batches)
            with clock.running("arm_"):
                policy.before(batch)
            value = float(policy.backward(batch, setting.closure(batch)))
            policy.step(value)
            with clock.running("arm_"):
                policy.after(batch, value)
        if not math.isfinite(value) and not policy.testing:
            diverged = True
            break
        if step % max(1, configuration.length // MARKS) == 0:
            times = {name: clock.seconds[name] for name in ("cpu", "arm_cpu")}
            marks.append({"step": step, "rate": short(policy.rate()), **times})
        if step in readings:
            with passes.paused(), torch.random.fork_rng():
                found = read(model, workload, data, policy)
            reads[str(step)] = {**found, **clock.seconds, "forward_passes": passes.passes, "backward_passes": step}
    return {
        **asdict(configuration),
        "finished": True,
        "diverged": diverged,
        "steps_done": step,
        "reads": reads,
        "marks": marks,
        **policy.report(),
        **clock.seconds,
        "forward_passes": passes.passes,
        "forward_examples": passes.examples,
        "backward_passes": step,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions(),
        "date": date.today().isoformat(),
    }


@cache
def versions() -> dict[str, str]:
    """Give the versions of the packages that decide the numbers."""
    present = {distribution.name for distribution in metadata.distributions()}
    return {name: metadata.version(name) for name in PACKAGES if name in present}
