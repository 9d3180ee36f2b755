"""A small classification task, and the plain loop on it that frameworks have to agree with."""

from dataclasses import asdict

import torch
import torch.nn.functional as F
from loops import ONLINE
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.schedulers import HomotopyLR, InducedMetricLR, RiverLR, TopoCNNLR, TopoLR, ValleyLR

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


def homotopy(optimizer, model):
    return HomotopyLR(optimizer, model, interval=8, max_ratio=100.0, margin=0.01)


def topocnn(optimizer, model):
    return TopoCNNLR(optimizer, model, interval=4, warmup=3, max_ratio=4.0, **ONLINE)


def river(optimizer, model):
    return RiverLR(optimizer, beta=0.5)


def induced(optimizer, model):
    return InducedMetricLR(optimizer)


SCHEDULERS = {"TopoLR": topo, "ValleyLR": valley}
OTHERS = {"HomotopyLR": homotopy, "TopoCNNLR": topocnn, "InducedMetricLR": induced, "RiverLR": river}
EXPECTED = {  # what a run must show
    "TopoLR": {"reference", "curvature"},
    "ValleyLR": {"ascent", "turn", "hold"},
    "HomotopyLR": {"edge"},
    "TopoCNNLR": {"flat", "brake"},
    "InducedMetricLR": {"metric"},
    "RiverLR": {"rougher", "smoother"},
}


def losses_of(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def loss_of(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def decisions(scheduler):
    return [asdict(decision) for decision in scheduler.history]


def rates_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


class Plain:
    """Model, optimizer and scheduler in the loop that docs/schedule.md and docs/valley.md show."""

    def __init__(
        self, make, *, model=None, loss=loss_of, accumulate=1, probe_batch=None, part=lambda batch: batch,
        optimizer_of=optimizer_of,
    ):  # fmt: skip
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
        self.model.train()
        if self.scheduler.probes_first:
            self.scheduler.probe(lambda: self.closure(batch))
        self.backward(batch)
        if last:
            self.take_step()
            if not self.scheduler.probes_first and self.probing:
                self.scheduler.probe(lambda: self.closure(batch))
            self.optimizer.zero_grad()
            if not self.waits:
                self.scheduler.step()
            self.rates.append(rates_of(self.optimizer))

    probing, waits = True, False

    def closure(self, batch):
        given = self.probe_batch(self.scheduler._steps) if self.probe_batch else self.part(batch)
        return self.loss(self.model, given)

    def backward(self, batch):
        (self.loss(self.model, batch) / self.accumulate).backward()

    def take_step(self):
        self.optimizer.step()


class Scaled(Plain):
    """In half precision with a gradient scaler; after a skipped step the scheduler's is left out too, or not."""

    def __init__(self, make, *, wait=False, **options):
        super().__init__(make, **{"loss": half_loss, **options})
        self.scaler, self.skipped, self.wait = scaler(), 0, wait

    def backward(self, batch):
        self.scaler.scale(self.loss(self.model, batch) / self.accumulate).backward()

    def take_step(self):
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < before
        self.skipped += skipped
        self.waits = self.wait and skipped


def half_loss(model, batch):
    with torch.autocast("cpu", torch.half):
        return loss_of(model, batch)


def scaler():
    """Grows until gradients overflow, and so again and again, but not at the first step."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=4)


class Observing(Plain):
    """Without a probe: the scheduler is told the losses of training, whose gradients are taken."""

    probing = False

    def __init__(self, make, **options):
        super().__init__(make, **{"loss": losses_of, **options})

    def backward(self, batch):
        losses = self.loss(self.model, batch)
        self.scheduler.observe(losses.detach())
        (losses.mean() / self.accumulate).backward()


class Told(Plain):
    """A probe of gradients needs no forward pass beside that of training."""

    def __init__(self, make, **options):
        super().__init__(make, **options)
        self.told, self.training_loss, self.loss = None, self.loss, self.noted_loss

    def noted_loss(self, model, batch):
        loss = self.training_loss(model, batch)
        self.told = loss.detach()
        return loss

    def closure(self, batch):
        return self.told


def plain_of(name, **options):
    return (Observing if name == "RiverLR" else Plain)({**SCHEDULERS, **OTHERS}[name], **options)


def check_same(name, plain, rates, scheduler, model):
    """Rates and decisions, step by step, and the weights that follow from them, to the last bit."""
    assert rates == plain.rates
    assert decisions(scheduler) == decisions(plain.scheduler)
    assert {decision["reason"] for decision in decisions(scheduler)} >= EXPECTED[name]
    assert len({rate for (rate, *_) in rates}) > 3
    for a, b in zip(model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
