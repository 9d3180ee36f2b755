"""Lazy layers have nothing to move before their first forward pass, which every entry says."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape import schedulers
from lrscape.landscape import random_directions, trace
from lrscape.landscape.parameters import movable
from lrscape.optim import TopoAdamW
from lrscape.schedulers import LandscapeLR, RunningAverage

X, Y = torch.randn(16, 4), torch.randint(3, (16,))
NO_MODEL = {"LandscapeLR", "RiverLR", "InducedMetricLR"}  # they read losses or gradients
KINDS = {
    name: kind
    for name, kind in vars(schedulers).items()
    if isinstance(kind, type) and issubclass(kind, LandscapeLR) and name not in NO_MODEL
}


def network():
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(3))


def made(kind, model):
    return kind(torch.optim.SGD(model.parameters(), lr=0.1), model)


@pytest.mark.parametrize("name", KINDS)
def test_schedulers_ask_for_a_forward_pass(name):
    model = network()
    with pytest.raises(ValueError, match=r"0\.weight, .*, … of Sequential have no shape .* run the model once"):
        made(KINDS[name], model)
    model(X)
    made(KINDS[name], model)


USES = {
    "movable": movable,
    "directions": lambda model: random_directions(model, 2),
    "trace": lambda model: trace(model, lambda: F.cross_entropy(model(X), Y)),
    "average": RunningAverage,
    "optimizer": lambda model: TopoAdamW(model.parameters(), model, lr=0.1),
}


@pytest.mark.parametrize("name", USES)
def test_everything_else_asks_too(name):
    model = network()
    with pytest.raises(ValueError, match="before the first forward pass of a lazy layer"):
        USES[name](model)
    model(X)
    USES[name](model)


def test_one_lazy_parameter_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3, bias=False))
    with pytest.raises(ValueError, match=r"1\.weight of Sequential has no shape"):
        movable(model, ["0"])
