"""A small classification task, and the plain loop on it that frameworks have to agree with."""

from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.schedulers import TopoLR, ValleyLR

RATE = 0.05

# As launchers set them; the tests' processes have formed their group already, so the address is not used.
LAUNCHED = {
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0",
}  # fmt: skip


def dataset(n=48):
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=stream)
    noise = torch.randn(n, generator=stream)
    return TensorDataset(x, (x[:, 0] + 0.5 * noise > 0).long() + (x[:, 1] > 1).long())


def batches(size=4):
    return DataLoader(dataset(), batch_size=size)


def network():
    stream = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)
    return model


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=RATE)


def topo(optimizer, model, **options):
    return TopoLR(optimizer, model, **{"interval": 4, "warmup": 3, "max_ratio": 4.0, **options})


def valley(optimizer, model, **options):
    return ValleyLR(optimizer, model, start=1e-3, **options)


SCHEDULERS = {"TopoLR": topo, "ValleyLR": valley}
EXPECTED = {"TopoLR": {"reference", "curvature"}, "ValleyLR": {"ascent", "turn", "hold"}}  # what a run must show


def loss_of(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def decisions(scheduler):
    return [asdict(decision) for decision in scheduler.history]


def rates_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


class Plain:
    """Model, optimizer and scheduler in the loop that docs/schedule.md and docs/valley.md show."""

    def __init__(self, make, *, model=None, loss=loss_of, accumulate=1, probe_batch=None, part=lambda batch: batch):
        self.model = network() if model is None else model
        self.optimizer = optimizer_of(self.model)
        self.scheduler = make(self.optimizer, self.model)
        self.loss, self.accumulate, self.probe_batch, self.part = loss, accumulate, probe_batch, part
        self.rates = []

    def train(self, loader, epochs):
        for _ in range(epochs):
            for i, batch in enumerate(loader):
                self.advance(batch, last=(i + 1) % self.accumulate == 0 or i + 1 == len(loader))
        return self

    def advance(self, batch, *, last):
        def closure():
            given = self.probe_batch(self.scheduler._steps) if self.probe_batch else self.part(batch)
            return self.loss(self.model, given)

        self.model.train()
        if self.scheduler.probes_first:
            self.scheduler.probe(closure)
        (self.loss(self.model, batch) / self.accumulate).backward()
        if last:
            self.optimizer.step()
            if not self.scheduler.probes_first:
                self.scheduler.probe(closure)
            self.optimizer.zero_grad()
            self.scheduler.step()
            self.rates.append(rates_of(self.optimizer))


def check_same(name, plain, rates, scheduler, model):
    """Rates and decisions, step by step, and the weights that follow from them, to the last bit."""
    assert rates == plain.rates
    assert decisions(scheduler) == decisions(plain.scheduler)
    assert {decision["reason"] for decision in decisions(scheduler)} >= EXPECTED[name]
    assert len({rate for (rate, *_) in rates}) > 3
    for a, b in zip(model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
