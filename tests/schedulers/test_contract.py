"""Every scheduler keeps the one contract; a new class joins by one line."""

from functools import partial

import pytest
import torch
from modelless import induced_metric, river
from torch import nn

from lrscape.schedulers import (
    AdaptiveHomotopyLR,
    CurvatureWarmup,
    HomotopyLR,
    PerLayerHomotopyLR,
    PerLayerTopoLR,
    TopoCNNLR,
    TopoLR,
    ValleyLR,
)
from lrscape.testing import CASES, FEW_CASES, HARD_CHECKS, SCHEDULER_CHECKS

# Small grids, and training after every third probe.
ONLINE = {"grid_size": 5, "min_samples": 3, "retrain_every": 3, "train_steps": 1, "buffer_capacity": 4}

FACTORIES = {
    "TopoLR": TopoLR,
    "TopoLR published": partial(TopoLR, preset="published"),
    "PerLayerTopoLR": PerLayerTopoLR,
    "TopoCNNLR": partial(TopoCNNLR, **ONLINE),
    "TopoCNNLR published": partial(TopoCNNLR, preset="published", **ONLINE),
    "RiverLR": river,
    "InducedMetricLR": partial(induced_metric, embedding="log"),
    # By default it starts at a rate of its own; the suite follows the optimizer's.
    "ValleyLR": partial(ValleyLR, start=None),
    "CurvatureWarmup": partial(CurvatureWarmup, start=1.0, max_ratio=2.0),  # likewise
    "CurvatureWarmup published": partial(CurvatureWarmup, criterion="kappa", start=1.0, max_ratio=2.0),
    "HomotopyLR": HomotopyLR,
    "HomotopyLR published": partial(HomotopyLR, criterion="kappa"),
    "AdaptiveHomotopyLR": partial(AdaptiveHomotopyLR, ramp=3),
    "AdaptiveHomotopyLR published": partial(AdaptiveHomotopyLR, criterion="kappa", ramp=3),
    "PerLayerHomotopyLR": PerLayerHomotopyLR,
    "PerLayerHomotopyLR published": partial(PerLayerHomotopyLR, criterion="kappa"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", SCHEDULER_CHECKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_contract(name, check, case):
    SCHEDULER_CHECKS[check](FACTORIES[name], case)


@pytest.mark.parametrize("case", [pytest.param(FEW_CASES[0], marks=pytest.mark.slow), *FEW_CASES[1:]], ids=str)
@pytest.mark.parametrize("check", HARD_CHECKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_hard_contract(name, check, case):
    HARD_CHECKS[check](FACTORIES[name], case)


PROBING = [name for name in FACTORIES if name not in {"RiverLR", "InducedMetricLR"}]


@pytest.mark.parametrize("name", PROBING)
def test_parameters_given_by_name(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    make = lambda chosen: FACTORIES[name](torch.optim.SGD(model.parameters(), lr=0.1), model, parameters=chosen)  # noqa: E731
    with pytest.raises(TypeError, match=r"got the string '0\.weight'; pass a list"):
        make("0.weight")
    with pytest.raises(ValueError, match=r"'2\.wieght', which the model does not have"):
        make(iter(["2.wieght"]))
    x = torch.randn(8, 2)
    found = []
    for chosen in (iter(["0.weight", "2"]), ["0.weight", "2"]):
        scheduler = make(chosen)
        measured = [scheduler.measure(lambda: model(x).square().mean()) for _ in range(2)]
        found.append([scheduler.decide(one) for one in measured])
    assert found[0] == found[1]
