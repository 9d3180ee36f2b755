"""Transformers' Trainer with every kind of scheduler, and with a gradient scaler."""

import pytest
import torch
import torch.nn.functional as F
from plain_loop import OTHERS, SCHEDULERS, Observing, Plain, Scaled, check_same, scaler

pytest.importorskip("transformers", reason="needs Transformers: pip install 'lrscape[transformers]'")
pytest.importorskip("accelerate", reason="Transformers' Trainer needs Accelerate")

from transformers_runs import EPOCHS, Classifier, Ordered, Run, loader, loss_of, sampled


@pytest.mark.parametrize("name", ["HomotopyLR", "TopoCNNLR"])
def test_other_schedulers_do_as_in_the_plain_loop(name, tmp_path):
    run = Run(OTHERS[name], tmp_path).train()
    plain = Plain(OTHERS[name], model=Classifier(), loss=loss_of, probe_batch=sampled()).train(loader(), EPOCHS)
    check_same(name, plain, run.recorded.rates, run.scheduler, run.model)


@pytest.mark.parametrize("callback", [False, True])  # which here does nothing but write into the log
@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_are_read_as_in_the_plain_loop(accumulate, callback, tmp_path):
    epochs, make = EPOCHS * accumulate, OTHERS["InducedMetricLR"]
    options = {"gradient_accumulation_steps": accumulate, "num_train_epochs": epochs}
    run = Run(make, tmp_path, callback=callback, **options).train()
    plain = Plain(make, model=Classifier(), loss=loss_of, accumulate=accumulate).train(loader(), epochs)
    check_same("InducedMetricLR", plain, run.recorded.rates, run.scheduler, run.model)


def losses_of(model, batch):
    return F.cross_entropy(model(batch["x"])["logits"], batch["labels"], reduction="none")


class River(Ordered):
    """Tells the scheduler the losses of its examples; see docs/integrations.md."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        losses = losses_of(model, inputs)
        if model.training:
            self.river.observe(losses.detach())
        return losses.mean()


def test_losses_of_examples_do_as_in_the_plain_loop(tmp_path):
    make = OTHERS["RiverLR"]
    run = Run(make, tmp_path, callback=False, trainer=River)
    run.trainer.river = run.scheduler
    run.train()
    plain = Observing(make, model=Classifier(), loss=losses_of).train(loader(), EPOCHS)
    check_same("RiverLR", plain, run.recorded.rates, run.scheduler, run.model)


@pytest.mark.parametrize("name", [*SCHEDULERS, "HomotopyLR", "InducedMetricLR"])
def test_half_precision_with_a_gradient_scaler(name, tmp_path):
    make = {**SCHEDULERS, **OTHERS}[name]
    run = Run(make, tmp_path, fp16=True)
    accelerator = run.trainer.accelerator
    assert (accelerator.native_amp, accelerator.scaler) == (False, None)  # a CPU would train in float32
    accelerator.native_amp, accelerator.scaler = True, scaler()  # as on a GPU
    run.train()
    plain = Scaled(make, wait=True, model=Classifier(), loss=half_loss, probe_batch=sampled()).train(loader(), EPOCHS)
    check_same(name, plain, run.recorded.rates, run.scheduler, run.model)
    assert run.scheduler._steps == len(run.recorded.rates) - plain.skipped < len(run.recorded.rates)


def half_loss(model, batch):
    with torch.autocast("cpu", torch.half):
        return loss_of(model, batch)
