"""One small training loop, written out, and every family of schedulers in its natural place within it.

Variants of the loop override a method: how losses are computed, how gradients come about, how a step is taken.
"""

from functools import partial

import pytest
import torch
from torch import nn

from lrscape.schedulers import (
    AdaptiveHomotopyLR,
    CurvatureWarmup,
    HomotopyLR,
    InducedMetricLR,
    PerLayerHomotopyLR,
    RiverLR,
    TopoCNNLR,
    TopoLR,
    ValleyLR,
)

ONLINE = {"grid_size": 3, "min_samples": 2, "retrain_every": 2, "train_steps": 1, "buffer_capacity": 4}


def modelless(kind, optimizer, model, **options):
    return kind(optimizer, **options)


# By name: how to make it, and where in an iteration it is asked.
FAMILIES = {
    "TopoLR": (partial(TopoLR, interval=3, warmup=0), "after"),
    "TopoCNNLR": (partial(TopoCNNLR, interval=4, warmup=0, max_ratio=4.0, **ONLINE), "after"),
    "ValleyLR": (partial(ValleyLR, start=1e-3), "before"),
    "HomotopyLR": (partial(HomotopyLR, interval=8, max_ratio=1e4), "before"),
    "AdaptiveHomotopyLR": (partial(AdaptiveHomotopyLR, interval=4, ramp=3), "before"),
    "PerLayerHomotopyLR": (partial(PerLayerHomotopyLR, interval=4), "before"),
    "CurvatureWarmup": (partial(CurvatureWarmup, interval=4, start=0.1, growth=1.1), "before"),
    "kappa": (partial(HomotopyLR, criterion="kappa", interval=4, target=1e-4), "before"),
    "RiverLR": (partial(modelless, RiverLR, beta=0.5), "losses"),
    "InducedMetricLR": (partial(modelless, InducedMetricLR, embedding="log"), "gradient"),
}
CURVATURE = ("HomotopyLR", "AdaptiveHomotopyLR", "PerLayerHomotopyLR", "CurvatureWarmup", "kappa")
# What a scheduler does to a model is move its weights, differentiate twice, or nothing; these cover all of it.
QUICK = ("TopoLR", "ValleyLR", "HomotopyLR", "RiverLR", "InducedMetricLR")
PINNED = {"min_ratio": 1.0, "max_ratio": 1.0}  # whatever is measured, the rates stay


def every(*left_out):
    """All families as parameters of a test, of which `make test` takes one of each kind."""
    chosen = [family for family in FAMILIES if family not in left_out]
    return [family if family in QUICK else pytest.param(family, marks=pytest.mark.slow) for family in chosen]


def network(dtype=torch.float64):
    stream = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)
    return model


def batch_of(step, dtype=torch.float64, rank=0, examples=8):
    """A batch of a regression; every step and rank has its own."""
    stream = torch.Generator().manual_seed(1000 * rank + step)
    x = torch.randn(examples, 3, generator=stream)
    noise = torch.randn(examples, 1, generator=stream)
    return x.to(dtype), (10 * x.sin().sum(1, keepdim=True) + noise).to(dtype)


class Loop:
    """The plain loop. A family of None trains without a scheduler."""

    dtype = torch.float64

    def __init__(self, family=None, **options):
        self.model = self.make_model()
        self.optimizer = self.make_optimizer()
        self.scheduler, self.place = None, None
        if family is not None:
            make, self.place = FAMILIES[family]
            if options.get("max_ratio") == 1.0 and family in {"ValleyLR", "CurvatureWarmup"}:
                options = {**options, "start": None if family == "ValleyLR" else 1.0}
            self.scheduler = make(self.optimizer, self.probed(), **options)
        self.rates, self.number = [], 0

    # What variants override

    def make_model(self):
        return network(self.dtype)

    def make_optimizer(self):
        return torch.optim.SGD(self.groups(), lr=0.003, momentum=0.9)

    def groups(self):
        layers = [layer for layer in self.model if [*layer.parameters()]]
        return [{"params": layer.parameters()} for layer in layers]

    def probed(self):
        """What the scheduler is given as the model."""
        return self.model

    def losses(self, batch):
        x, y = batch
        return ((self.model(x) - y) ** 2).flatten()

    def loss(self, batch):
        """What probes compute."""
        return self.losses(batch).mean()

    def backward(self, losses):
        losses.mean().backward()

    def take_step(self):
        self.optimizer.step()

    def batch(self):
        return batch_of(self.number, self.dtype)

    # The loop

    def iteration(self, batch):
        if self.place == "before":
            self.probe(batch)
        self.optimizer.zero_grad()
        losses = self.losses(batch)
        self.backward(losses)
        if self.place == "gradient":
            self.scheduler.use_loss(losses.detach().mean())
        self.take_step()
        if self.place == "after":
            self.probe(batch)
        if self.place == "losses":
            self.scheduler.observe(losses.detach())
        if self.scheduler is not None:
            self.scheduler.step()

    def probe(self, batch):
        self.scheduler.probe(lambda: self.loss(batch))

    def train(self, steps=24):
        for _ in range(steps):
            self.iteration(self.batch())
            self.rates.append([float(group["lr"]) for group in self.optimizer.param_groups])
            self.number += 1
        return self

    # What it ends with

    @property
    def weights(self):
        return [parameter.detach().clone() for parameter in self.model.parameters()]

    @property
    def reasons(self):
        return [decision.reason for decision in self.scheduler.history]


def same_run(one, other):
    """Bit for bit: rates at every step, reasons and weights."""
    assert one.rates == other.rates
    if one.scheduler is not None and other.scheduler is not None:
        assert one.reasons == other.reasons
    assert all(map(torch.equal, one.weights, other.weights))


def close_run(one, other, rtol):
    for a, b in zip(one.rates, other.rates, strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=rtol, atol=0)
    for a, b in zip(one.weights, other.weights, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


def moved(run):
    """A comparison of rates says nothing where they all stay what they were."""
    return len({tuple(rates) for rates in run.rates}) > 1
