"""Which runs the study needs next, given those it has: tune, run fresh seeds, then vary what was assumed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from .arms import ARMS, Arm
from .configuration import Configuration
from .reading import loss
from .records import Record
from .tuning import Bracket, bracket
from .workloads.workload import Workload

TUNING_SEEDS = (1000, 1001)
SEEDS = (0, 1, 2, 3, 4)
WRONG = (1 / 16, 1 / 4, 4.0, 16.0)  # times the tuned rate


class Runs(Protocol):
    """Anything that knows finished runs."""

    def get(self, wanted: Configuration) -> Record | None:
        """Give the run of a configuration, or None."""


@dataclass(frozen=True)
class Cell:
    """An arm on a workload, with all that is fixed before a rate and a seed.

    Attributes:
        workload: Name of the workload.
        arm: Name of the arm.
        horizon: Share of the budget.
        batch: Examples in a batch.
        steps: The budget.
    """

    workload: str
    arm: str
    horizon: float
    batch: int
    steps: int


@dataclass(frozen=True)
class Study:
    """What is compared, and what is known so far.

    Attributes:
        workloads: By name.
        arms: Names.
        runs: Finished ones.
        seeds: For the comparisons; those of the tuning are others.
        tuning_seeds: For the rates.
        extend: Whether a search goes on until the best rate is bracketed; not for smoke tests.
        most: No budget is longer; for smoke tests.
        entries: The registry of arms.
    """

    workloads: Mapping[str, Workload]
    arms: Sequence[str]
    runs: Runs
    seeds: Sequence[int] = SEEDS
    tuning_seeds: Sequence[int] = TUNING_SEEDS
    extend: bool = True
    most: int | None = None
    entries: Mapping[str, Arm] = field(default_factory=lambda: ARMS)

    def cell(self, workload: str, arm: str, horizon: float | None = None, batch: int | None = None) -> Cell:
        """Describe an arm on a workload.

        Args:
            workload: Name.
            arm: Name.
            horizon: Share of the budget; by default the arm's first.
            batch: Examples in a batch; by default the workload's, which also decides the budget.

        Returns:
            The cell.
        """
        about = self.workloads[workload]
        share = 1.0 if batch is None else about.batches[batch]
        steps = round(about.steps * share)
        steps = steps if self.most is None else min(steps, self.most)
        horizon = self.entries[arm].horizons[0] if horizon is None else horizon
        return Cell(workload, arm, horizon, about.batch if batch is None else batch, steps)

    def runs_on(self, arm: str, workload: str) -> bool:
        """Tell whether an arm is for a workload."""
        chosen, welcome = self.entries[arm].workloads, self.workloads[workload].only
        return (chosen is None or workload in chosen) and (welcome is None or arm in welcome)

    def restricted(self, several: bool) -> Study:
        """Keep the workloads of several tasks, or all others.

        Args:
            several: Which of them.

        Returns:
            The study of those.
        """
        kept = {name: about for name, about in self.workloads.items() if (about.tasks is not None) == several}
        return replace(self, workloads=kept)

    def configuration(self, cell: Cell, rate: float | None, seed: int) -> Configuration:
        """Give the configuration of a run in a cell."""
        kind = self.entries[cell.arm].kind
        return Configuration(cell.workload, kind, rate, seed, cell.steps, cell.horizon, cell.batch)

    # Rates

    def search(self, cell: Cell) -> Bracket | None:
        """Give the state of the search for a cell's rate.

        Args:
            cell: Of an arm with a rate to find.

        Returns:
            The search, or None if it cannot begin because it starts from another's result.
        """
        arm = self.entries[cell.arm]
        if arm.rate == "tuned":
            centre = self.workloads[cell.workload].centre * arm.shift
            return bracket(centre, lambda rate: self.validation(cell, rate), self.extend)
        neighbour = self.search(replace(cell, arm="constant"))
        if neighbour is None or neighbour.best is None:
            return None
        return bracket(neighbour.best, lambda rate: self.validation(cell, rate), extend=False)

    def validation(self, cell: Cell, rate: float) -> float | None:
        """Give the mean validation loss of the tuning runs at a rate, or None while they are not all there."""
        runs = [self.runs.get(self.configuration(cell, rate, seed)) for seed in self.tuning_seeds]
        weights = self.entries[cell.arm].weights
        losses = [loss(run, weights, "validation") for run in runs if run is not None]
        return sum(losses) / len(losses) if len(losses) == len(runs) else None

    def rate(self, cell: Cell) -> tuple[bool, float | None]:
        """Tell whether a cell's rate is settled, and which it is.

        Args:
            cell: The cell.

        Returns:
            Whether, and the rate; None for arms that take none.
        """
        rate = self.entries[cell.arm].rate
        if not isinstance(rate, str):
            return True, rate
        if rate in self.entries:
            return self.rate(replace(cell, arm=rate))
        search = self.search(cell)
        best = None if search is None else search.best
        return best is not None, best

    # Runs

    def tuning(self, cell: Cell) -> list[Configuration]:
        """List the runs that the search for a cell's rate has asked for so far, those of other arms included."""
        arm = self.entries[cell.arm]
        if not isinstance(arm.rate, str):
            return []
        if arm.rate in self.entries:
            return self.tuning(replace(cell, arm=arm.rate))
        before = self.tuning(replace(cell, arm="constant")) if arm.rate == "near constant" else []
        search = self.search(cell)
        rates = [] if search is None else search.rates
        return before + [self.configuration(cell, rate, seed) for rate in rates for seed in self.tuning_seeds]

    def final(self, cell: Cell) -> list[Configuration]:
        """List the runs with fresh seeds, once the rate is settled."""
        settled, rate = self.rate(cell)
        return [self.configuration(cell, rate, seed) for seed in self.seeds] if settled else []

    def sensitivity(self, cell: Cell) -> list[Configuration]:
        """List the runs at wrong rates, once the right one is settled, and with the same seeds at that."""
        settled, rate = self.rate(cell)
        wanted = self.entries[cell.arm].sensitivity and self.workloads[cell.workload].only is None
        if not settled or rate is None or not wanted:
            return []
        return [self.configuration(cell, rate * factor, seed) for factor in (1.0, *WRONG) for seed in self.tuning_seeds]

    def stages(self) -> Iterator[tuple[str, list[Cell], bool]]:
        """Give the parts of the study in the order in which they are run.

        Yields:
            Its title, its cells, and whether it is about wrong rates.
        """
        compared = [name for name in self.arms if self.entries[name].group == "schedulers"]
        essential = [name for name in compared if self.entries[name].essential]
        others = [name for name in compared if not self.entries[name].essential]

        def cells(names: Collection[str], first: bool) -> list[Cell]:
            return [
                self.cell(workload, name, horizon)
                for workload in self.workloads
                for name in names
                for place, horizon in enumerate(self.entries[name].horizons)
                if (place == 0) == first and self.runs_on(name, workload)
            ]

        yield "essential", cells(essential, first=True), False
        yield "essential, shorter horizons", cells(essential, first=False), False
        yield "others", cells(others, first=True), False
        yield "others, shorter horizons", cells(others, first=False), False
        yield (
            "batch sizes",
            [
                self.cell(workload, name, batch=batch)
                for workload, about in self.workloads.items()
                for batch in about.batches
                for name in self.arms
                if self.entries[name].batches
            ],
            False,
        )
        yield "wrong rates", cells(compared, first=True), True
        for group in ("systems", "ablations"):
            yield group, cells([name for name in self.arms if self.entries[name].group == group], first=True), False

    def pending(self) -> Iterator[tuple[str, Configuration]]:
        """Give the runs that are known to be needed and are not there, the most wanted first.

        Yields:
            The title of the stage, and the run; none twice.
        """
        seen = set()
        for title, cells, wrong in self.stages():
            for cell in cells:
                wanted = self.sensitivity(cell) if wrong else self.tuning(cell) + self.final(cell)
                for configuration in wanted:
                    if configuration not in seen and self.runs.get(configuration) is None:
                        seen.add(configuration)
                        yield title, configuration
