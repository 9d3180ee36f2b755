"""Accelerate with every kind of scheduler, with several optimizers, and with a gradient scaler."""

import pytest
import torch
from plain_loop import (
    OTHERS,
    SCHEDULERS,
    Plain,
    Scaled,
    batches,
    check_same,
    decisions,
    homotopy,
    loss_of,
    network,
    optimizer_of,
    plain_of,
    rates_of,
    scaler,
)

pytest.importorskip("accelerate", reason="needs Accelerate: pip install 'lrscape[accelerate]'")

from accelerate import Accelerator
from accelerate_runs import EPOCHS, Observed, Prepared, fresh  # noqa: F401  fresh is used by every test

from lrscape.integrations.accelerate import landscape_scheduler
from lrscape.landscape import preconditioned_sharpness, stability_factor


def sgd_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


@pytest.mark.parametrize("first", [False, True])  # made for the optimizer, or for what is prepared already
@pytest.mark.parametrize("name", OTHERS)
def test_other_schedulers_do_as_in_the_plain_loop(name, first):
    run = (Observed if name == "RiverLR" else Prepared)(OTHERS[name], first=first).train()
    check_same(name, plain_of(name).train(batches(), EPOCHS), run.rates, run.landscape, run.model)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.NAdam, torch.optim.Adamax])
def test_the_edge_is_that_of_the_optimizer_within_the_prepared_one(kind):
    def make(model):
        return kind(model.parameters(), lr=0.01)

    run = Prepared(homotopy, first=True, optimizer_of=make).train(2)
    plain = Plain(homotopy, optimizer_of=make).train(batches(), 2)
    assert run.rates == plain.rates
    assert decisions(run.landscape) == decisions(plain.scheduler)
    assert stability_factor(run.optimizer) == stability_factor(plain.optimizer)
    batch = next(iter(batches()))
    found, expected = (
        preconditioned_sharpness(each.model, lambda each=each: loss_of(each.model, batch), each.optimizer)
        for each in (run, plain)
    )
    assert found.sharpness == expected.sharpness


class Adversaries:
    """Two prepared models, optimizers and schedulers that take turns on the same batches."""

    def __init__(self, **options):
        self.accelerator = Accelerator(cpu=True, **options)
        models = [network(), network()]
        optimizers = [optimizer_of(models[0]), sgd_of(models[1])]
        makers = [SCHEDULERS["TopoLR"], SCHEDULERS["ValleyLR"]]
        schedulers = [make(*pair) for make, pair in zip(makers, zip(optimizers, models, strict=True), strict=True)]
        prepared = self.accelerator.prepare(*models, *optimizers, *schedulers, batches())
        self.models, self.optimizers, self.schedulers = prepared[:2], prepared[2:4], prepared[4:6]
        self.loader = prepared[6]
        self.landscapes = [landscape_scheduler(scheduler) for scheduler in self.schedulers]
        self.rates = [[], []]

    def train(self, epochs):
        for _ in range(epochs):
            for batch in self.loader:
                with self.accelerator.accumulate(*self.models):
                    for number in (0, 1):
                        self.advance(number, batch)
        return self

    def advance(self, number, batch):
        model, optimizer, scheduler, landscape = (
            each[number] for each in (self.models, self.optimizers, self.schedulers, self.landscapes)
        )
        if landscape.probes_first:
            landscape.probe(lambda: loss_of(model, batch))
        self.accelerator.backward(loss_of(model, batch))
        optimizer.step()
        if not landscape.probes_first:
            landscape.probe(lambda: loss_of(model, batch))
        scheduler.step()
        optimizer.zero_grad()
        if self.accelerator.sync_gradients:
            self.rates[number].append(rates_of(optimizer))


@pytest.mark.parametrize("accumulate", [1, 5])
def test_several_optimizers(accumulate):
    epochs = EPOCHS * (3 if accumulate > 1 else 1)
    run = Adversaries(gradient_accumulation_steps=accumulate).train(epochs)
    for number, (name, make) in enumerate((("TopoLR", optimizer_of), ("ValleyLR", sgd_of))):
        plain = Plain(SCHEDULERS[name], optimizer_of=make, accumulate=accumulate).train(batches(), epochs)
        check_same(name, plain, run.rates[number], run.landscapes[number], run.models[number])


def test_several_optimizers_saved_and_loaded(tmp_path):
    whole = Adversaries().train(4)
    Adversaries().train(2).accelerator.save_state(str(tmp_path))
    rest = Adversaries()
    rest.accelerator.load_state(str(tmp_path))
    rest.train(2)
    for number in (0, 1):
        assert rest.rates[number] == whole.rates[number][24:]
        assert decisions(rest.landscapes[number]) == decisions(whole.landscapes[number])


def scaling():
    """What Accelerate sets up for fp16 on a GPU, and leaves out on a CPU, where it then trains in float32."""
    accelerator = Accelerator(cpu=True, mixed_precision="fp16")
    assert (accelerator.native_amp, accelerator.scaler) == (False, None)
    accelerator.native_amp, accelerator.scaler = True, scaler()
    return accelerator


# torch looks for its mark on step(), and Accelerate puts back the step() that it has found before.
OVERRIDDEN = pytest.mark.filterwarnings("ignore:Seems like `optimizer.step..` has been overridden")


@pytest.mark.parametrize("first", [False, pytest.param(True, marks=OVERRIDDEN)])
@pytest.mark.parametrize("name", [*SCHEDULERS, "HomotopyLR", "InducedMetricLR"])
def test_half_precision_with_a_gradient_scaler(name, first):
    make = {**SCHEDULERS, **OTHERS}[name]
    run = Prepared(make, first=first, accelerator=scaling()).train()
    plain = Scaled(make, wait=True, loss=half_loss_of_floats).train(batches(), EPOCHS)
    check_same(name, plain, run.rates, run.landscape, run.model)
    assert run.landscape._steps == len(run.rates) - plain.skipped < len(run.rates)
    assert run.accelerator.scaler.get_scale() == plain.scaler.get_scale()


def half_loss_of_floats(model, batch):
    """Accelerate turns what the model returns into float32."""
    with torch.autocast("cpu", torch.half):
        logits = model(batch[0])
    return torch.nn.functional.cross_entropy(logits.float(), batch[1])
