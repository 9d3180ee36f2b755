"""Does a rate held below the edge of stability do what the curvature paper hopes? Its four experiments, both criteria.

quadratic: known curvature, against a tuned constant rate and tuned Adam. digits: a CNN against constant, step and
cosine. transformer: loss spikes and final loss at 1, 3 and 10 times the tuned rate. depth: 2 to 16 layers. Rates of
arms without a measurement are tuned by validation loss on two seeds of their own; ours take multiples of the constant
arm's. Five seeds, means with 95 % t-intervals, on test data.

Every finished run is one line of ``results/homotopy.jsonl``; runs found there are not repeated, so it can be done in
pieces. ``--quick`` makes a few steps of two seeds and keeps nothing.

    OMP_NUM_THREADS=1 python -m lrscape.benchmarks.homotopy [--experiments quadratic digits transformer depth]
        [--minutes 55] [--seeds 0 1 2 3 4] [--figure FILE.png] [--quick]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..landscape.files import atomic_write
from .homotopy_problems import EXPERIMENTS, Experiment
from .homotopy_report import draw, print_tables
from .homotopy_run import run

RESULTS = Path(__file__).parent / "results" / "homotopy.jsonl"
TUNING_SEEDS = (1000, 1001)

Key = tuple[str, str, float, int, int]  # workload, arm, rate, seed, steps


@dataclass
class Runs:
    """Finished runs.

    Attributes:
        path: Where their lines are, or None to keep them in memory only.
        most: No run takes more steps.
        entries: By key.
    """

    path: Path | None
    most: int | None = None
    entries: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path is not None and self.path.exists() else []
        for entry in map(json.loads, lines):
            self.entries[entry["workload"], entry["arm"], entry["rate"], entry["seed"], entry["steps"]] = entry

    def key(self, experiment: Experiment, workload: str, arm: str, rate: float, seed: int) -> Key:
        """Name a run."""
        steps = experiment.workloads[workload].steps
        return workload, arm, rate, seed, steps if self.most is None else min(steps, self.most)

    def tuned(self, experiment: Experiment, arm: str) -> float | None:
        """Give the rate with the least mean validation loss on the tuning seeds, or None while runs are missing."""
        own, first = arm if arm in experiment.rates else "constant", next(iter(experiment.workloads))
        means: dict[float, float] = {}
        for rate in experiment.rates[own]:
            found = [self.entries.get(self.key(experiment, first, own, rate, seed)) for seed in TUNING_SEEDS]
            losses = [math.inf if e["validation_loss"] is None else e["validation_loss"] for e in found if e]
            if len(losses) < len(found):
                return None
            means[rate] = sum(losses) / len(losses)
        return min(means, key=lambda rate: means[rate])

    def wanted(self, experiment: Experiment, seeds: list[int]) -> Iterator[Key]:
        """List what an experiment needs: first the tuning, then, once rates are known, all arms seed by seed."""
        first = next(iter(experiment.workloads))
        for arm, rates in experiment.rates.items():
            for rate in rates:
                for seed in TUNING_SEEDS:
                    yield self.key(experiment, first, arm, rate, seed)
        for seed in seeds:
            for workload in experiment.workloads:
                for arm in experiment.arms:
                    best = self.tuned(experiment, arm)
                    if best is None:
                        continue
                    for multiple in experiment.multiples if arm != "adam" else (1.0,):
                        yield self.key(experiment, workload, arm, best * multiple, seed)

    def add(self, key: Key, entry: dict[str, Any]) -> None:
        """Take a finished run in, and write it down at once."""
        self.entries[key] = entry
        if self.path is not None:
            with atomic_write(self.path) as file:
                file.write("".join(json.dumps(e, allow_nan=False) + "\n" for e in self.entries.values()).encode())


def main() -> None:
    """Run what is missing, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run later than this")
    parser.add_argument("--figure", type=Path, help="draw what there is into this file")
    parser.add_argument("--quick", action="store_true", help="60 steps, two seeds, nothing kept")
    options = parser.parse_args()
    runs = Runs(None, most=60) if options.quick else Runs(RESULTS)
    seeds = [0, 1] if options.quick else options.seeds
    start = time.monotonic()
    for name in options.experiments:
        experiment = EXPERIMENTS[name]
        while True:
            missing = next((key for key in runs.wanted(experiment, seeds) if key not in runs.entries), None)
            if missing is None or time.monotonic() - start > 60 * options.minutes:
                break
            workload, arm, rate, seed, steps = missing
            entry = run(experiment.workloads[workload], arm, rate, seed, steps, experiment.reading)
            if seed in TUNING_SEEDS:
                entry = {name: value for name, value in entry.items() if not isinstance(value, list)}
            runs.add(missing, entry)
            loss = "diverged" if entry["validation_loss"] is None else f"{entry['validation_loss']:.4g}"
            print(
                f"{(time.monotonic() - start) / 60:6.1f} min  {workload}  {arm}  rate {rate:.3g}  seed {seed}  {loss}"
            )
    for name in options.experiments:
        print_tables(runs, EXPERIMENTS[name], seeds)
    if options.figure:
        draw(runs, seeds, options.figure)


if __name__ == "__main__":
    main()
