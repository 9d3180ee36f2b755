"""What an arm is, and what trains in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .policy import Policy, Setting

Group = Literal["schedulers", "systems", "ablations"]


@dataclass(frozen=True)
class Kind:
    """What trains.

    Attributes:
        make: Makes the policy of a run.
        cost: Of a step, relative to a plain one, roughly; for estimates only.
        knows_horizon: Whether it has to be told how long the run is, so that only the end of a run counts.
    """

    make: Callable[[Setting], Policy]
    cost: float = 1.0
    knows_horizon: bool = False


@dataclass(frozen=True)
class Arm:
    """One row of the tables.

    Attributes:
        title: For the report.
        kind: What trains.
        weights: Which of the run's weights are judged: the optimizer's own or their average.
        rate: "tuned" on the validation loss of those weights; "near constant": the best of the constant arm's rate and
            its two neighbours; the name of another arm, whose rate is taken; a number; or None, for what takes none.
        horizons: Shares of the budget; where its kind knows the horizon, each is tuned and run of its own.
        essential: Whether it runs before the others.
        batches: Whether other batch sizes are tried.
        sensitivity: Whether it also runs at wrong rates.
        group: The report that it belongs to: "schedulers" are compared with each other, "systems" with what they are
            added to, "ablations" with the system that they change.
        against: The arm that it is compared with in the latter two.
        workloads: On which it runs; by default on all.
        shift: Times the workload's centre, where the search for its rate begins.
    """

    title: str
    kind: str
    weights: Literal["raw", "average"] = "raw"
    rate: float | str | None = "tuned"
    horizons: tuple[float, ...] = (1.0,)
    essential: bool = False
    batches: bool = False
    sensitivity: bool = True
    group: Group = "schedulers"
    against: str = "constant"
    workloads: tuple[str, ...] | None = None
    shift: float = 1.0
