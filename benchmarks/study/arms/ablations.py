"""What the papers leave open about TopoLR: one option changed at a time, at the rate of the arm it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lrscape.schedulers import PerLayerTopoLR, TopoLR
from lrscape.schedulers.topo import TopoMeasurement

from .descents import sharpness_aware
from .entry import Arm, Kind
from .landscape import topo, topo_cnn


class Thresholds(TopoLR):
    """TopoLR, published, with all thresholds on sharpness and variance multiplied.

    Args:
        *given: As of TopoLR.
        times: By what.
        **options: As of TopoLR.
    """

    def __init__(self, *given: Any, times: float, **options: Any) -> None:
        self.times = times
        super().__init__(*given, **options)

    def decide(self, measurement: TopoMeasurement) -> str:
        """Apply the rule to what was measured, divided.

        Args:
            measurement: What a probe found.

        Returns:
            The reason.
        """
        shrunk = {name: getattr(measurement, name) / self.times for name in ("sharpness", "variance")}
        return super().decide(replace(measurement, **shrunk))


def changed(cost: float = 1.2, part: int = 1, **changes: Any) -> Kind:
    """Describe the corrected TopoLR with other options."""
    return Kind(partial(topo, part=part, changes=changes), cost=cost)


def published(cost: float = 1.2, kind: Any = TopoLR, **changes: Any) -> Kind:
    """Describe the published TopoLR with other options."""
    return Kind(partial(topo, preset="published", kind=kind, changes=changes), cost=cost)


# Probed every other step, so that the network is trained at all in runs as short as these
OFTEN: Mapping[str, Any] = {"preset": "published", "interval": 2}
NEVER = 500  # as many probes as no run of QUICK has


def online(samples: int) -> Kind:
    """Describe the published TopoCNNLR that trains from so many probes on."""
    return Kind(partial(topo_cnn, changes={**OFTEN, "min_samples": samples}), cost=9.0)


KINDS: dict[str, Kind] = {
    **{f"topo-samples-{n}": changed(1.1 + n / 50, samples=n) for n in (4, 8, 16, 32)},
    **{f"topo-interval-{n}": changed(1 + 3 / n, interval=n) for n in (10, 25, 50, 100, 200)},
    "topo-gamma-low": changed(gamma=0.25),
    "topo-gamma-high": changed(gamma=1.0),
    "topo-raw": changed(smoothing=0.0),
    "topo-smooth": changed(smoothing=0.9),
    **{f"topo-part-{n}": changed(1.1, n) for n in (2, 4, 16)},
    "topo-layers": Kind(partial(topo, kind=PerLayerTopoLR, layers=True), cost=2.0),
    "topo-sam": Kind(partial(topo, descent=sharpness_aware), cost=2.2),
    **{f"topo-published-samples-{n}": published(samples=n) for n in (0, 4, 8, 32)},
    **{f"topo-published-interval-{n}": published(interval=n) for n in (10, 25, 100, 200)},
    "topo-thresholds-half": published(kind=Thresholds, times=0.5),
    "topo-thresholds-double": published(kind=Thresholds, times=2.0),
    **{f"topocnn-online-{n}": online(n) for n in (50, 100, 200)},
    "topocnn-rule": online(NEVER),
}

QUICK = ("digits", "digits-noise", "tabular")
SLOW = ("residual", "transformer")
MANY = (*QUICK, *SLOW)
LOW = ("digits", "residual", "tabular")  # where the loss gets small enough for the published rule to act


def ablation(title: str, kind: str, against: str = "topo", workloads: tuple[str, ...] = QUICK) -> Arm:
    """Describe a change of one option."""
    return Arm(title, kind, rate=against, sensitivity=False, group="ablations", against=against, workloads=workloads)


ARMS: dict[str, Arm] = {
    **{f"topo-samples-{n}": ablation(f"nine points and {n} more", f"topo-samples-{n}") for n in (4, 8, 16, 32)},
    **{
        f"topo-interval-{n}": ablation(f"T = {n}", f"topo-interval-{n}", workloads=QUICK if n == 50 else MANY)
        for n in (10, 25, 50, 100, 200)
    },
    "topo-gamma-low": ablation("γ = ¼", "topo-gamma-low", workloads=MANY),
    "topo-gamma-high": ablation("γ = 1", "topo-gamma-high", workloads=MANY),
    "topo-raw": ablation("no smoothing", "topo-raw"),
    "topo-smooth": ablation("smoothing .9", "topo-smooth"),
    **{
        f"topo-part-{n}": ablation(
            f"probes on 1/{n} of the batch", f"topo-part-{n}", workloads=MANY if n == 4 else QUICK
        )
        for n in (2, 4, 16)
    },
    "topo-layers": ablation("a factor for each layer", "topo-layers", workloads=MANY),
    "topo-sam": ablation("TopoLR with SAM, against SAM", "topo-sam", "sam", MANY),
    **{
        f"topo-published-samples-{n}": ablation(
            f"published, nine points and {n} more", f"topo-published-samples-{n}", "topo-published", LOW
        )
        for n in (0, 4, 8, 32)
    },
    **{
        f"topo-published-interval-{n}": ablation(
            f"published, T = {n}", f"topo-published-interval-{n}", "topo-published", LOW
        )
        for n in (10, 25, 100, 200)
    },
    "topo-thresholds-half": ablation("published, thresholds × ½", "topo-thresholds-half", "topo-published", LOW),
    "topo-thresholds-double": ablation("published, thresholds × 2", "topo-thresholds-double", "topo-published", LOW),
    "topocnn-rule": ablation("published TopoCNNLR, T = 2, its rule alone", "topocnn-rule", "topocnn-published", QUICK),
    **{
        f"topocnn-online-{n}": ablation(
            f"published TopoCNNLR, T = 2, trained from {n} probes on", f"topocnn-online-{n}", "topocnn-rule", QUICK
        )
        for n in (50, 100, 200)
    },
}
