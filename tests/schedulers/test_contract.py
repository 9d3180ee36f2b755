"""Every scheduler keeps the one contract; a new class joins by one line."""

from functools import partial

import pytest

from lrscape.schedulers import TopoCNNLR, TopoLR, ValleyLR
from lrscape.testing import CASES, SCHEDULER_CHECKS

# Small grids, and training after every third probe.
ONLINE = {"grid_size": 5, "min_samples": 3, "retrain_every": 3, "train_steps": 1, "buffer_capacity": 4}

FACTORIES = {
    "TopoLR": TopoLR,
    "TopoLR published": partial(TopoLR, preset="published"),
    "TopoCNNLR": partial(TopoCNNLR, **ONLINE),
    "TopoCNNLR published": partial(TopoCNNLR, preset="published", **ONLINE),
    # By default it starts at a rate of its own; the suite follows the optimizer's.
    "ValleyLR": partial(ValleyLR, start=None),
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", SCHEDULER_CHECKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_contract(name, check, case):
    SCHEDULER_CHECKS[check](FACTORIES[name], case)
