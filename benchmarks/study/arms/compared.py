"""Schedules and schedulers that are compared with each other."""

from __future__ import annotations

from functools import partial

from .competitors import Prodigy, ScheduleFree
from .entry import Arm, Kind
from .landscape import Valley, topo, topo_cnn
from .plateau import Plateau
from .range_test import RangeTest
from .time_based import constant, cosine, stable_decay, step_decay

KINDS: dict[str, Kind] = {
    "constant": Kind(constant),
    "cosine": Kind(cosine, knows_horizon=True),
    "step": Kind(step_decay, knows_horizon=True),
    "wsd": Kind(stable_decay, knows_horizon=True),
    "plateau": Kind(Plateau, cost=1.2),
    "schedule-free": Kind(ScheduleFree, cost=1.3),
    "prodigy": Kind(Prodigy, cost=1.3),
    "prodigy-cosine": Kind(partial(Prodigy, annealed=True), cost=1.3, knows_horizon=True),
    "topo-published": Kind(partial(topo, preset="published"), cost=1.3),
    "topo": Kind(partial(topo, preset="corrected"), cost=1.3),
    "topocnn": Kind(topo_cnn, cost=2.5),
    "range-test": Kind(RangeTest),
    "valley": Kind(Valley, cost=1.1),
    "valley-fast": Kind(partial(Valley, speed=2.0), cost=1.1),
    "valley-slow": Kind(partial(Valley, speed=0.5), cost=1.1),
    "valley-low": Kind(partial(Valley, start=0.01), cost=1.1),
}

# TopoLR's published preset spends 25 forward passes every 50 steps, about a sixth of a step's time each step
MATCHED = 7 / 6
EVERY = (1.0, 0.5, 0.25)

ARMS: dict[str, Arm] = {
    "cosine": Arm("cosine", "cosine", horizons=EVERY, essential=True, batches=True),
    "valley": Arm("ValleyLR", "valley", "average", None, essential=True, batches=True, sensitivity=False),
    "constant": Arm("constant", "constant", essential=True),
    "wsd": Arm("warmup–stable–decay", "wsd", horizons=EVERY, essential=True),
    "schedule-free": Arm("schedule-free", "schedule-free", essential=True),
    "prodigy": Arm("Prodigy", "prodigy", rate=1.0, essential=True),
    "constant-average": Arm("constant, with the anytime average", "constant", "average"),
    "cosine-ema": Arm("cosine, with an exponential average", "cosine", "average", horizons=EVERY),
    "range-test": Arm("range test, with the anytime average", "range-test", "average", None, sensitivity=False),
    "prodigy-cosine": Arm("Prodigy with cosine", "prodigy-cosine", rate=1.0, horizons=EVERY, sensitivity=False),
    "step": Arm("step decay, TopoLR's time as steps", "step", horizons=(MATCHED,), sensitivity=False),
    "plateau": Arm("ReduceLROnPlateau", "plateau"),
    "topo": Arm("TopoLR", "topo", rate="near constant", sensitivity=False),
    "topo-published": Arm("TopoLR, published", "topo-published", rate="near constant", sensitivity=False),
    "topocnn": Arm("TopoCNNLR", "topocnn", rate="near constant", sensitivity=False),
    "valley-fast": Arm("ValleyLR, growth twice as fast", "valley-fast", "average", None, sensitivity=False),
    "valley-slow": Arm("ValleyLR, growth half as fast", "valley-slow", "average", None, sensitivity=False),
    "valley-low": Arm("ValleyLR, started 100 × lower", "valley-low", "average", None, sensitivity=False),
}
