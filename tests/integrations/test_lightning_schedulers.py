"""Lightning with every kind of scheduler, with a gradient scaler, and with FSDP2."""

import warnings

import pytest
import torch
from plain_loop import (
    EXPECTED,
    LAUNCHED,
    OTHERS,
    SCHEDULERS,
    Observing,
    Plain,
    Scaled,
    Told,
    batches,
    check_same,
    dataset,
    decisions,
    loss_of,
    losses_of,
    network,
    plain_of,
    scaler,
)
from ranks import run_ranks
from torch.utils.data import DataLoader, DistributedSampler

pytest.importorskip("lightning", reason="needs Lightning: pip install 'lrscape[lightning]'")

from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning_runs import EPOCHS, Module, Rates, fit

from lrscape.integrations.lightning import LandscapeCallback
from lrscape.schedulers import InducedMetricLR


class River(Module):
    """Tells the scheduler the losses of its examples."""

    def training_step(self, batch, batch_idx):
        losses = losses_of(self.net, batch)
        self.lr_schedulers().observe(losses.detach())
        return losses.mean()


@pytest.mark.parametrize("name", ["HomotopyLR", "TopoCNNLR"])
def test_other_schedulers_do_as_in_the_plain_loop(name):
    module = Module(OTHERS[name])
    _, rates = fit(module)
    check_same(name, plain_of(name).train(batches(), EPOCHS), rates, module.scheduler, module.net)


@pytest.mark.parametrize("accumulate", [1, 5])
def test_losses_of_examples_do_as_in_the_plain_loop(accumulate):
    module, epochs = River(OTHERS["RiverLR"]), EPOCHS * (3 if accumulate > 1 else 1)
    _, rates = fit(module, Rates(), accumulate_grad_batches=accumulate, epochs=epochs)
    plain = Observing(OTHERS["RiverLR"], accumulate=accumulate).train(batches(), epochs)
    check_same("RiverLR", plain, rates, module.scheduler, module.net)


def gradients_after(optimizer, model):
    return InducedMetricLR(optimizer, embedding="log", automatic=False)


def test_gradients_are_read_after_the_step_with_the_loss_of_training():
    module = Module(gradients_after)
    _, rates = fit(module)  # BatchNorm's statistics, compared too, would tell of another forward pass
    check_same("InducedMetricLR", Told(gradients_after).train(batches(), EPOCHS), rates, module.scheduler, module.net)
    losses = [decision.measurement["loss"] for decision in module.scheduler.history]
    fit(again := Module(gradients_after), LandscapeCallback(loss_of))  # which is not needed, and not called
    assert [decision.measurement["loss"] for decision in again.scheduler.history] == losses


def test_the_loss_of_accumulated_gradients_is_that_of_their_last_batch():
    module = Module(gradients_after)
    _, rates = fit(module, accumulate_grad_batches=4)
    plain = Told(gradients_after, accumulate=4).train(batches(), EPOCHS)
    check_same("InducedMetricLR", plain, rates, module.scheduler, module.net)


class ToldScaled(Told, Scaled):
    pass


@pytest.mark.parametrize("name", [*SCHEDULERS, "HomotopyLR", "InducedMetricLR"])
def test_half_precision_with_a_gradient_scaler(name):
    made, plain_kind = scaler(), ToldScaled if name == "InducedMetricLR" else Scaled
    make = gradients_after if name == "InducedMetricLR" else {**SCHEDULERS, **OTHERS}[name]
    module = Module(make)
    _, rates = fit(module, plugins=[MixedPrecision("16-mixed", "cpu", made)])
    plain = plain_kind(make).train(batches(), EPOCHS)
    check_same(name, plain, rates, module.scheduler, module.net)
    assert module.scheduler._steps == len(rates) - plain.skipped < len(rates)
    assert made.get_scale() == plain.scaler.get_scale()


def sharded_network(mesh):
    """Without BatchNorm, whose statistics are of each rank's own examples."""
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Sequential(*[part for part in network() if not isinstance(part, torch.nn.BatchNorm1d)])
    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


class Sharded(Module):
    """As Lightning asks for it: the model is made where the mesh is known."""

    def configure_model(self):
        self.net = sharded_network(self.device_mesh["data_parallel"])


def several(rank, ranks, name):
    warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec")  # as pyproject.toml does; see there
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    make = {**SCHEDULERS, **OTHERS}[name]
    module, strategy = Sharded(make), ModelParallelStrategy(data_parallel_size=ranks, tensor_parallel_size=1)
    own = DataLoader(dataset(), batch_size=4, sampler=DistributedSampler(dataset(), shuffle=False))
    _, rates = fit(module, loader=own, devices=ranks, strategy=strategy)
    plain = Plain(make, model=sharded_network(module.device_mesh["data_parallel"])).train(own, EPOCHS)
    assert decisions(module.scheduler) == decisions(plain.scheduler)
    assert rates == plain.rates
    weights, expected = ([p.detach().full_tensor() for p in net.parameters()] for net in (module.net, plain.model))
    assert all(map(torch.equal, weights, expected))
    return rates, decisions(module.scheduler), [weight.tolist() for weight in weights]


@pytest.mark.slow  # two processes that load the framework
@pytest.mark.parametrize("name", [*SCHEDULERS, "HomotopyLR"])
def test_sharded_models_do_as_in_the_plain_loop(name):
    first, second = run_ranks(several, 2, name, environment=LAUNCHED)
    assert first == second
    rates, found, _ = first
    assert len(rates) == EPOCHS * 6
    assert {decision["reason"] for decision in found} >= EXPECTED[name] - {"hold"}
