"""What is to be run: everything that decides a run's outcome, and so what names it in the results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Configuration:
    """One run.

    Attributes:
        workload: Its name.
        kind: What trains; see :data:`lrscape.benchmarks.study.arms.KINDS`.
        rate: Learning rate, or None for what needs none.
        seed: Of weights, data order, dropout and label noise.
        steps: The workload's whole budget.
        horizon: Share of the budget that this run gets, and knows if its kind does.
        batch: Examples in a batch.
    """

    workload: str
    kind: str
    rate: float | None
    seed: int
    steps: int
    horizon: float
    batch: int

    @property
    def length(self) -> int:
        """Optimizer steps of this run."""
        return round(self.steps * self.horizon)
