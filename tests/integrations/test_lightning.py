"""Lightning's Trainer gives schedulers what the plain loop gives them."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from plain_loop import (
    EXPECTED,
    LAUNCHED,
    SCHEDULERS,
    Plain,
    batches,
    check_same,
    decisions,
    loss_of,
    network,
    optimizer_of,
    topo,
)
from ranks import run_ranks

pytest.importorskip("lightning", reason="needs Lightning: pip install 'lrscape[lightning]'")

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning_runs import EPOCHS, Module, Rates, fit, trainer

from lrscape.integrations.lightning import LandscapeCallback
from lrscape.optim import TopoAdamW
from lrscape.schedulers import HomotopyLR, ValleyLR


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulate", [1, 5])  # twelve batches: the last step of an epoch takes two
@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_and_decisions_are_those_of_the_plain_loop(name, accumulate, precision):
    def loss(model, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            return loss_of(model, batch)

    module, epochs = Module(SCHEDULERS[name]), EPOCHS * (3 if accumulate > 1 else 1)
    _, rates = fit(module, accumulate_grad_batches=accumulate, precision=precision, epochs=epochs)
    plain = Plain(SCHEDULERS[name], loss=loss, accumulate=accumulate).train(batches(), epochs)
    check_same(name, plain, rates, module.scheduler, module.net)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_loss_of_ones_own_gives_the_same(name):
    module = Module(SCHEDULERS[name])
    _, rates = fit(module, LandscapeCallback(lambda module, batch: loss_of(module.net, batch)))
    check_same(name, Plain(SCHEDULERS[name]).train(batches(), EPOCHS), rates, module.scheduler, module.net)


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")  # of the run that goes on; Lightning's advice
@pytest.mark.parametrize("name", SCHEDULERS)
def test_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    whole = Module(SCHEDULERS[name])
    _, rates = fit(whole)
    first, second = (ModelCheckpoint(tmp_path, save_last=True) for _ in range(2))
    fit(Module(SCHEDULERS[name]), LandscapeCallback(), first, epochs=2, enable_checkpointing=True)
    module, last = Module(SCHEDULERS[name]), Rates()
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    resuming = trainer(LandscapeCallback(), second, last, enable_checkpointing=True)
    resuming.fit(module, batches(), ckpt_path=tmp_path / "last.ckpt")
    assert last.rates == rates[-len(last.rates) :]
    assert len(last.rates) == (EPOCHS - 2) * 12
    assert decisions(module.scheduler) == decisions(whole.scheduler)
    for a, b in zip(whole.net.state_dict().values(), module.net.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert state["lr_schedulers"][0]["_steps"] == 24


class Adversaries(L.LightningModule):
    """Two optimizers that take turns, each with a scheduler and a loss of its own."""

    automatic_optimization = False

    def __init__(self):
        super().__init__()
        self.first, self.second = network(), network()

    def losses(self):
        return [
            lambda module, batch: loss_of(module.first, batch),
            second_loss,
        ]

    def training_step(self, batch, batch_idx):
        for loss, optimizer, scheduler in zip(self.losses(), self.optimizers(), self.lr_schedulers(), strict=True):
            optimizer.zero_grad()
            self.manual_backward(loss(self, batch))
            optimizer.step()
            scheduler.step()

    def configure_optimizers(self):
        optimizers = [optimizer_of(self.first), optimizer_of(self.second)]
        self.schedulers = [topo(optimizers[0], self.first), SCHEDULERS["ValleyLR"](optimizers[1], self.second)]
        return optimizers, self.schedulers


def second_loss(module, batch):
    return 2 * F.cross_entropy(module.second(batch[0].flip(1)), batch[1])


def test_several_optimizers_with_manual_optimisation():
    module = Adversaries()
    trainer(LandscapeCallback(module.losses())).fit(module, batches())
    flipped = lambda model, batch: 2 * F.cross_entropy(model(batch[0].flip(1)), batch[1])  # noqa: E731
    for i, (name, loss) in enumerate((("TopoLR", loss_of), ("ValleyLR", flipped))):
        plain = Plain(SCHEDULERS[name], loss=loss).train(batches(), EPOCHS)
        assert decisions(module.schedulers[i]) == decisions(plain.scheduler)
        assert len(decisions(plain.scheduler)) > 10


def test_optimizer_that_steers_itself():
    def make(model):
        return TopoAdamW(model.parameters(), model, lr=0.05, interval=4, warmup_steps=3)

    class Steering(Module):
        def configure_optimizers(self):
            self.optimizer = make(self.net)
            return self.optimizer

    module, model = Steering(None), network()
    fit(module)
    optimizer = make(model)
    for batch in [*batches()] * EPOCHS:
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.probe(lambda batch=batch: loss_of(model, batch))
        optimizer.zero_grad()
    assert [d.factors for d in module.optimizer.history] == [d.factors for d in optimizer.history]
    assert len(optimizer.history) == 15


def test_gradients_of_the_step_for_curvature_schedulers():
    module = Module(lambda optimizer, model: HomotopyLR(optimizer, model, interval=16))
    _, rates = fit(module)
    plain = Plain(lambda optimizer, model: HomotopyLR(optimizer, model, interval=16)).train(batches(), EPOCHS)
    assert decisions(module.scheduler) == decisions(plain.scheduler)
    assert rates == plain.rates
    assert module.scheduler.history[0].step == 0


def test_a_subset_of_each_batch():
    module = Module(topo)
    _, rates = fit(module, LandscapeCallback(subset=3))
    plain = Plain(topo, part=lambda batch: [part[:3] for part in batch]).train(batches(), EPOCHS)
    check_same("TopoLR", plain, rates, module.scheduler, module.net)


def test_valley_with_a_known_end():
    def make(optimizer, model):
        return ValleyLR(optimizer, model, start=1e-3, total_steps=60)

    module = Module(make)
    _, rates = fit(module)
    assert rates == Plain(make).train(batches(), EPOCHS).rates
    assert rates[-1] < rates[-6]


def several(rank, ranks, name):
    warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec")  # as pyproject.toml does; see there
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    module = Module(SCHEDULERS[name])
    _, rates = fit(module, devices=ranks, strategy="ddp")
    return rates, decisions(module.scheduler), [value.tolist() for value in module.net.parameters()]


@pytest.mark.slow  # two processes that load the framework
@pytest.mark.parametrize("name", SCHEDULERS)
def test_two_processes_agree(name):
    first, second = run_ranks(several, 2, name, environment=LAUNCHED)
    assert first == second
    rates, found, _ = first
    assert len(rates) == EPOCHS * 6
    assert {decision["reason"] for decision in found} >= EXPECTED[name] - {"hold"}
