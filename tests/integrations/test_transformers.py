"""Transformers' Trainer gives schedulers what the plain loop gives them on the same batches."""

import pytest
import torch
from plain_loop import (
    EXPECTED,
    LAUNCHED,
    SCHEDULERS,
    Plain,
    check_same,
    decisions,
    topo,
)
from ranks import run_ranks
from torch import nn
from torch.utils.data import DataLoader

pytest.importorskip("transformers", reason="needs Transformers: pip install 'lrscape[transformers]'")
pytest.importorskip("accelerate", reason="Transformers' Trainer needs Accelerate")

from accelerate.state import AcceleratorState, GradientState, PartialState
from transformers import Trainer
from transformers_runs import (
    EPOCHS,
    Classifier,
    Ordered,
    Run,
    arguments,
    collate,
    examples,
    loader,
    loss_of,
    sampled,
)  # fmt: skip

from lrscape.integrations.probe_batches import CycledBatches
from lrscape.integrations.transformers import LandscapeCallback
from lrscape.optim import TopoAdamW
from lrscape.schedulers import InducedMetricLR


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_and_decisions_are_those_of_the_plain_loop(name, accumulate, bf16, tmp_path):
    def loss(model, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return loss_of(model, batch)

    epochs = EPOCHS * accumulate
    run = Run(
        SCHEDULERS[name], tmp_path, bf16=bf16, gradient_accumulation_steps=accumulate, num_train_epochs=epochs
    ).train()
    plain = Plain(SCHEDULERS[name], model=Classifier(), loss=loss, accumulate=accumulate, probe_batch=sampled()).train(
        loader(), epochs
    )
    check_same(name, plain, run.recorded.rates, run.scheduler, run.model)


@pytest.mark.parametrize("kind", ["list", "loader", "function"])
def test_probe_batches_of_ones_own(kind, tmp_path):
    whole = list(loader())
    batches = {"list": whole[:5], "loader": loader(), "function": lambda step: whole[step % 5]}[kind]
    run = Run(topo, tmp_path, batches, callback_options={"loss": loss_of}).train()
    cycle = CycledBatches(whole[:5] if kind == "list" else whole)
    source = batches if kind == "function" else cycle
    plain = Plain(topo, model=Classifier(), loss=loss_of, probe_batch=Once(source)).train(loader(), EPOCHS)
    check_same("TopoLR", plain, run.recorded.rates, run.scheduler, run.model)


class Once:
    """One batch per probe, however often its closure is called."""

    def __init__(self, source):
        self.source, self.step, self.batch = source, None, None

    def __call__(self, step):
        if step != self.step:
            self.step, self.batch = step, self.source(step)
        return self.batch


@pytest.mark.parametrize(("name", "given"), [("TopoLR", False), ("ValleyLR", False), ("TopoLR", True)])
def test_resumed_run_is_the_uninterrupted_one(name, given, tmp_path):
    def probing():
        return [DataLoader(examples(), batch_size=5, shuffle=True, collate_fn=collate)] if given else []

    whole = Run(SCHEDULERS[name], tmp_path / "whole", *probing(), max_steps=40).train()
    saved = {"save_strategy": "steps", "save_steps": 25, "save_total_limit": 5}
    Run(SCHEDULERS[name], tmp_path / "cut", *probing(), max_steps=25, **saved).train()
    rest = Run(SCHEDULERS[name], tmp_path / "rest", *probing(), max_steps=40)
    rest.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-25"))
    assert rest.recorded.rates == whole.recorded.rates[25:]
    assert decisions(rest.scheduler) == decisions(whole.scheduler)
    for a, b in zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_decisions_join_the_log_and_the_trainers_own_stay(tmp_path):
    logging = {"logging_strategy": "steps", "logging_steps": 7, "max_steps": 30}
    run = Run(topo, tmp_path, **logging).train()
    ours = [entry for entry in run.trainer.state.log_history if "lrscape/rate" in entry]
    assert [(entry["step"], entry["lrscape/rate"]) for entry in ours] == [
        (decision.step, decision.rates[0]) for decision in run.scheduler.history
    ]
    assert all(entry["lrscape/reason/" + d.reason] == 1 for entry, d in zip(ours, run.scheduler.history, strict=True))
    theirs = [entry["step"] for entry in run.trainer.state.log_history if "loss" in entry]
    assert theirs == list(range(7, 31, 7))
    valley = Run(SCHEDULERS["ValleyLR"], tmp_path, max_steps=30).train()
    steps = [entry["step"] for entry in valley.trainer.state.log_history if "lrscape/rate" in entry]
    assert steps == [decision.step for decision in valley.scheduler.history]
    silent = Run(topo, tmp_path, max_steps=8, callback_options={"log": False}).train()
    assert not any("lrscape/rate" in entry for entry in silent.trainer.state.log_history)
    assert run.scheduler.history._listeners == []


def test_optimizer_that_steers_itself(tmp_path):
    def make(model):
        return TopoAdamW(model.parameters(), model, lr=0.05, interval=4, warmup_steps=3)

    model, other = Classifier(), Classifier()
    optimizer = make(model)
    trainer = Ordered(
        model, arguments(tmp_path), data_collator=collate, train_dataset=examples(),
        optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)),
    )  # fmt: skip
    trainer.add_callback(LandscapeCallback(trainer))
    trainer.train()
    plain, source = make(other), sampled()
    for batch in [*loader()] * EPOCHS:
        loss_of(other, batch).backward()
        plain.step()
        plain.probe(lambda: loss_of(other, source(plain.controller._steps)))
        plain.zero_grad()
    assert [d.factors for d in optimizer.history] == [d.factors for d in plain.history]
    assert len(plain.history) == 15


def test_a_transformer_with_label_smoothing(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config)
    codes = torch.arange(8).repeat(16, 1).add(torch.arange(16)[:, None]).remainder(11)
    data = [{"input_ids": row, "labels": row} for row in codes]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = topo(optimizer, model)
    trainer = Trainer(
        model, arguments(tmp_path, label_smoothing_factor=0.1, max_steps=20), train_dataset=data,
        optimizers=(optimizer, scheduler),
    )  # fmt: skip
    trainer.add_callback(LandscapeCallback(trainer, batch_size=3))
    trainer.train()
    assert [decision.step for decision in scheduler.history] == [4, 8, 12, 16, 20]
    assert scheduler.history[0].reason == "reference"


def test_set_ups_that_cannot_work_are_refused(tmp_path):
    plain = Run(lambda optimizer, model: torch.optim.lr_scheduler.ConstantLR(optimizer), tmp_path)
    with pytest.raises(ValueError, match="found no landscape-driven scheduler"):
        plain.train()
    trainer = plain.trainer
    with pytest.raises(TypeError, match=r"must be a transformers\.Trainer"):
        LandscapeCallback(plain.model)
    with pytest.raises(TypeError, match="batches must be"):
        LandscapeCallback(trainer, 3)
    with pytest.raises(TypeError, match="readable more than once"):
        LandscapeCallback(trainer, iter(loader()))
    with pytest.raises(TypeError, match="loss must be"):
        LandscapeCallback(trainer, loss=3)
    with pytest.raises(ValueError, match="together with batches"):
        LandscapeCallback(trainer, [1], batch_size=3)
    with pytest.raises(ValueError, match="at least 1"):
        LandscapeCallback(trainer, batch_size=0)


def dropping(callback, folder):
    """Train with dropout and a scheduler that measures but may not act."""
    torch.manual_seed(0)
    run = Run(
        lambda optimizer, model: topo(optimizer, model, min_ratio=1.0, max_ratio=1.0),
        folder,
        callback=callback,
        max_steps=24,
    )
    run.model.net[2] = nn.Dropout(0.3)
    return run.train()


def test_probes_leave_no_trace(tmp_path):
    probed, state = dropping(True, tmp_path), torch.get_rng_state()
    plain = dropping(False, tmp_path)
    assert len(probed.scheduler.history) == 6
    assert len(plain.scheduler.history) == 0
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(probed.model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_read_after_clipping_without_a_probe(tmp_path):
    run = Run(lambda optimizer, model: InducedMetricLR(optimizer), tmp_path, max_grad_norm=0.5, max_steps=24).train()
    found = [decision.measurement["squared_gradient"] for decision in run.scheduler.history]
    assert len(found) == 24
    assert max(found) == pytest.approx(0.25, rel=1e-4)
    logged = [entry for entry in run.trainer.state.log_history if "lrscape/rate" in entry]
    assert [entry["lrscape/measured/squared_gradient"] for entry in logged] == found


def several(rank, ranks, name, folder):
    for kind in (AcceleratorState, GradientState, PartialState):
        kind._reset_state()
    run = Run(SCHEDULERS[name], folder, ddp_backend="gloo").train()
    return run.recorded.rates, decisions(run.scheduler), [value.tolist() for value in run.model.parameters()]


@pytest.mark.slow  # two processes that load the framework
@pytest.mark.parametrize("name", SCHEDULERS)
def test_two_processes_agree(name, tmp_path):
    first, second = run_ranks(several, 2, name, str(tmp_path), environment=LAUNCHED)
    assert first == second
    rates, found, _ = first
    assert len(rates) == EPOCHS * 6
    assert {decision["reason"] for decision in found} >= EXPECTED[name] - {"hold"}
