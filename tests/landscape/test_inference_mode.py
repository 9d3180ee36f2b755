"""Under torch.inference_mode, as under no_grad, a probe measures what it would measure outside, and stays harmless."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from traces import state

from lrscape.landscape import (
    Objective,
    evaluate,
    fisher,
    gauss_newton,
    gradient_direction,
    grid,
    hvp,
    random_directions,
    trace,
)
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

X, Y = torch.randn(16, 4), torch.randint(3, (16,))
VECTORS = torch.randn(3, 67)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def loss_of(model, reduction="mean"):
    return lambda: F.cross_entropy(model(X), Y, reduction=reduction)


def by_gauss_newton(model):
    with gauss_newton(model, lambda: model(X), lambda z: F.cross_entropy(z, Y)) as operator:
        return operator.matmat(VECTORS)


def by_fisher(model):
    with fisher(model, loss_of(model, "none")) as operator:
        return operator.matmat(VECTORS)


def over_batches(model):
    objective = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), [(X[:8], Y[:8]), (X[8:], Y[8:])])
    return hvp(model, objective, VECTORS)


MEASURES = {
    **{
        mode: lambda model, mode=mode: hvp(model, loss_of(model), VECTORS, mode=mode)
        for mode in ("auto", "reverse", "forward", "difference")
    },
    "batches": over_batches,
    "gauss_newton": by_gauss_newton,
    "fisher": by_fisher,
    "trace": lambda model: trace(model, loss_of(model)).estimate,
    "direction": lambda model: gradient_direction(model, loss_of(model), norm="filter").tensors["0.weight"],
    **{
        engine: lambda model, engine=engine: torch.from_numpy(
            evaluate(model, loss_of(model), random_directions(model, 2), grid(3), engine=engine).losses
        )
        for engine in ("inplace", "batched")
    },
}


@pytest.mark.parametrize("name", MEASURES)
def test_measurements_are_the_same(name):
    model = network()
    expected, before = MEASURES[name](model), state(model)
    with torch.inference_mode():
        found = MEASURES[name](model)
        assert torch.is_inference_mode_enabled()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert state(model) == before
    loss_of(model)().backward()


SCHEDULERS = [
    AdaptiveHomotopyLR, CurvatureWarmup, HomotopyLR, PerLayerHomotopyLR, PerLayerTopoLR, TopoCNNLR, TopoLR, ValleyLR,
]  # fmt: skip


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("adam", [False, True])
def test_schedulers_decide_the_same(kind, adam):
    runs = []
    for mode in (False, True):
        model = network()
        optimizer = (torch.optim.AdamW if adam else torch.optim.SGD)(model.parameters(), lr=0.1)
        scheduler = kind(optimizer, model, **({} if kind in {CurvatureWarmup, ValleyLR} else {"interval": 1}))
        for _ in range(5):
            with torch.inference_mode(mode):
                scheduler.probe(loss_of(model))
            optimizer.zero_grad()
            loss_of(model)().backward()
            optimizer.step()
            scheduler.step()
        runs.append([(decision.step, decision.measurement, decision.rates) for decision in scheduler.history])
    assert runs[0] == runs[1]
