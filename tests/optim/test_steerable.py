"""What works by its probes steers an optimizer from within as it would from outside; the rest is refused by name."""

import pytest
import torch
import torch.nn.functional as F
from steered_runs import problem
from torch.optim.lr_scheduler import CosineAnnealingLR

from lrscape.optim import HomotopyAdam, Steered
from lrscape.schedulers import (
    AdaptiveHomotopyLR,
    CurvatureWarmup,
    HomotopyLR,
    InducedMetricLR,
    PerLayerHomotopyLR,
    PerLayerTopoLR,
    RiverLR,
    TopoCNNLR,
    TopoLR,
    ValleyLR,
)

EVERY = {"interval": 2, "warmup": 0}
WORKING = {
    "topo": lambda o, m: TopoLR(o, m, max_ratio=4.0, **EVERY),
    "topocnn": lambda o, m: TopoCNNLR(o, m, grid_size=5, max_ratio=4.0, **EVERY),
    "river": lambda o, m: RiverLR(o, **EVERY),
    "homotopy": lambda o, m: HomotopyLR(o, m, **EVERY),
    "kappa": lambda o, m: HomotopyLR(o, m, criterion="kappa", target=5.0, **EVERY),
    "adaptive": lambda o, m: AdaptiveHomotopyLR(o, m, ramp=1, **EVERY),
}
REFUSED = {
    "ValleyLR": lambda o, m: ValleyLR(o, m),
    "CurvatureWarmup": lambda o, m: CurvatureWarmup(o, m),
    "InducedMetricLR": lambda o, m: InducedMetricLR(o, automatic=False),
    "PerLayerHomotopyLR": lambda o, m: PerLayerHomotopyLR(o, m),
    "PerLayerTopoLR": lambda o, m: PerLayerTopoLR(o, m),
}


def steering(kind, make):
    class SteeredKind(Steered, kind):
        def __init__(self, params, model, **options):
            super().__init__(params, **options)
            self.steer(model, lambda groups: make(groups, model))

    return SteeredKind


def halves(model):
    return [{"params": model[:2].parameters()}, {"params": model[2:].parameters(), "lr": 0.35}]


def run(model, optimizer, prober, x, y, each, steps=7):
    """Give the rates of each step and the reasons of the probes before it."""
    taken = []
    reduction = "none" if isinstance(getattr(prober, "controller", prober), RiverLR) else "mean"
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        taken.append([float(rate) for rate in each()])
        optimizer.step()
        prober.probe(lambda: F.cross_entropy(model(x), y, reduction=reduction))
        if prober is not optimizer:
            prober.step()
    return taken, [decision.reason for decision in prober.history]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", WORKING)
def test_it_steers_from_within_as_from_outside(name, kind):
    make = WORKING[name]
    model, x, y = problem(torch.float64)
    twin, _, _ = problem(torch.float64)
    optimizer = steering(kind, make)(halves(model), model, lr=0.7)
    plain = kind(halves(twin), lr=0.7)
    scheduler = make(plain, twin)

    def within():
        return [g["lr"] * f for g, f in zip(optimizer.param_groups, optimizer.factors, strict=True)]

    rates, reasons = run(model, optimizer, optimizer, x, y, within)
    expected, why = run(twin, plain, scheduler, x, y, lambda: [group["lr"] for group in plain.param_groups])
    assert len(reasons) >= 3
    assert reasons == why
    assert any(rate != expected[0] for rate in expected)  # it does something
    for one, other in zip(rates, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-9)
    assert [group["lr"] for group in optimizer.param_groups] == [0.7, 0.35]


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_optimizer_itself_is_refused(name):
    model, _, _ = problem()
    with pytest.raises(TypeError, match=rf"{name} .*cannot steer SteeredKind from within: .*{name}\(optimizer, \.\.\."):
        steering(torch.optim.SGD, REFUSED[name])(model.parameters(), model, lr=0.1)


def test_a_step_of_its_own_is_refused():
    class Stepping(RiverLR):
        def step(self, epoch=None):
            super().step(epoch)

    model, _, _ = problem()
    with pytest.raises(TypeError, match="Stepping does a part of its work in step"):
        steering(torch.optim.SGD, lambda o, m: Stepping(o))(model.parameters(), model, lr=0.1)


def test_an_inner_scheduler_is_refused():
    model, _, _ = problem()

    def make(o, m):
        return TopoLR(o, m, inner=CosineAnnealingLR(o, 10))

    with pytest.raises(TypeError, match=r"TopoLR was given inner=CosineAnnealingLR, which nobody steps"):
        steering(torch.optim.SGD, make)(model.parameters(), model, lr=0.1)


def test_an_unknown_edge_is_refused_at_construction():
    model, x, y = problem(torch.float64)
    with pytest.raises(ValueError, match=r"edge is known .* got SteeredKind; criterion='kappa' takes any"):
        steering(torch.optim.LBFGS, WORKING["homotopy"])(model.parameters(), model, lr=0.1)
    with pytest.raises(ValueError, match="must minimise"):
        HomotopyAdam(model.parameters(), model, maximize=True)
    optimizer = steering(torch.optim.Adadelta, WORKING["kappa"])(model.parameters(), model, lr=0.1)
    assert len(run(model, optimizer, optimizer, x, y, list, 3)[1]) == 1


def test_the_stand_in_has_the_rates_of_the_groups_at_once():
    model, _, _ = problem()
    seen = []

    def make(o, m):
        seen.extend(group["lr"] for group in o.param_groups)
        return TopoLR(o, m)

    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": torch.tensor(0.25)}]
    optimizer = steering(torch.optim.SGD, make)(groups, model, lr=0.5)
    assert seen == [0.5, 0.25]
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.125})
    assert [group["lr"] for group in optimizer.controller.optimizer.param_groups] == [0.5, 0.25, 0.125]
