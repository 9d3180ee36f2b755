"""How many runs are missing, and how long they would take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from .arms import KINDS
from .configuration import Configuration
from .plan import Runs, Study
from .records import Record
from .workloads.workload import Workload


class Imagined:
    """Runs as they might come out, for counting them: the best rate is one step above the centre.

    Args:
        runs: Those that are there already.
        workloads: By name.
    """

    def __init__(self, runs: Runs, workloads: Mapping[str, Workload]) -> None:
        self._runs, self._workloads = runs, workloads
        self._made: set[Configuration] = set()

    def get(self, wanted: Configuration) -> Record | None:
        """Give a run that is there or was imagined."""
        found = self._runs.get(wanted)
        if found is not None or wanted not in self._made:
            return found
        off = 0.0 if wanted.rate is None else math.log2(wanted.rate / self._workloads[wanted.workload].centre) - 0.9
        read = {weights: {"validation": {"loss": 1 + off * off}} for weights in ("raw", "average")}
        return {"steps": wanted.steps, "horizon": wanted.horizon, "reads": {str(wanted.length): read}}

    def add(self, wanted: Configuration) -> None:
        """Imagine a run."""
        self._made.add(wanted)


def seconds(configuration: Configuration, workload: Workload) -> float:
    """Estimate the time of a run on one core."""
    examples = configuration.length / workload.steps * configuration.batch / workload.batch
    return workload.seconds * examples * KINDS[configuration.kind].cost


def estimate(study: Study) -> dict[str, dict[str, tuple[int, float]]]:
    """Count the runs that are missing, and the seconds they might take on one core.

    Args:
        study: What is compared.

    Returns:
        By stage and workload: runs and seconds.
    """
    imagined = Imagined(study.runs, study.workloads)
    rehearsal = replace(study, runs=imagined)
    found: dict[str, dict[str, tuple[int, float]]] = {}
    while wanted := list(rehearsal.pending()):
        for title, configuration in wanted:
            imagined.add(configuration)
            name = configuration.workload
            runs, spent = found.setdefault(title, {}).get(name, (0, 0.0))
            found[title][name] = runs + 1, spent + seconds(configuration, study.workloads[name])
    return found
