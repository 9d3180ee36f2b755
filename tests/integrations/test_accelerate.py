"""Accelerate's loop gives schedulers what the plain loop gives them."""

import pytest
import torch
from plain_loop import (
    LAUNCHED,
    SCHEDULERS,
    Plain,
    batches,
    check_same,
    dataset,
    decisions,
    loss_of,
    network,
    optimizer_of,
    topo,
    valley,
)
from ranks import run_ranks
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader

pytest.importorskip("accelerate", reason="needs Accelerate: pip install 'lrscape[accelerate]'")

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from accelerate_runs import EPOCHS, Prepared, forget, fresh  # noqa: F401  fresh is used by every test

from lrscape.integrations import record
from lrscape.integrations.accelerate import landscape_scheduler
from lrscape.optim import TopoAdamW


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 5])  # twelve batches: the last step of an epoch takes two
@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_and_decisions_are_those_of_the_plain_loop(name, accumulate, precision):
    def model_loss(model, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(batch[0])
        return torch.nn.functional.cross_entropy(logits.float(), batch[1])

    epochs = EPOCHS * (3 if accumulate > 1 else 1)
    run = Prepared(SCHEDULERS[name], gradient_accumulation_steps=accumulate, mixed_precision=precision).train(epochs)
    plain = Plain(SCHEDULERS[name], loss=model_loss, accumulate=accumulate).train(batches(), epochs)
    check_same(name, plain, run.rates, run.landscape, run.model)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_saved_and_loaded_run_is_the_uninterrupted_one(name, tmp_path):
    whole = Prepared(SCHEDULERS[name]).train()
    forget()
    Prepared(SCHEDULERS[name]).train(2).accelerator.save_state(str(tmp_path))
    forget()
    rest = Prepared(SCHEDULERS[name])
    rest.accelerator.load_state(str(tmp_path))
    rest.train(EPOCHS - 2)
    assert rest.rates == whole.rates[24:]
    assert decisions(rest.landscape) == decisions(whole.landscape)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_of_a_prepared_optimizer(name):
    run = Prepared(SCHEDULERS[name], first=True).train()
    check_same(name, Plain(SCHEDULERS[name]).train(batches(), EPOCHS), run.rates, run.landscape, run.model)


def test_known_end_is_not_taken_for_a_limit_on_calls():
    run = Prepared(lambda optimizer, model: valley(optimizer, model, total_steps=60)).train()
    assert run.landscape.last_epoch == 60
    assert run.rates[-1] < run.rates[-6]
    assert not hasattr(run.landscape, "total_steps")


def test_optimizer_that_steers_itself():
    def make(model):
        return TopoAdamW(model.parameters(), model, lr=0.05, interval=4, warmup_steps=3)

    accelerator, model, plain = Accelerator(cpu=True), network(), network()
    prepared, optimizer, loader = accelerator.prepare(model, make(model), batches())
    own = make(plain)
    for batch in loader:
        for at, steering, probing in (
            (prepared, optimizer, landscape_scheduler(optimizer)),
            (plain, own, own),
        ):
            loss_of(at, batch).backward()
            steering.step()
            probing.probe(lambda at=at, batch=batch: loss_of(at, batch))
            steering.zero_grad()
    assert [d.factors for d in landscape_scheduler(optimizer).history] == [d.factors for d in own.history]
    assert len(own.history) == 3


class Tracker(GeneralTracker):
    """Keeps what Accelerate gives to a logger."""

    name, requires_logging_directory, main_process_only = "kept", False, True

    def __init__(self):
        super().__init__()
        self.logged = []

    @property
    def tracker(self):
        return self.logged

    @on_main_process
    def store_init_configuration(self, values):
        pass

    @on_main_process
    def log(self, values, step=None, **kwargs):
        self.logged.append((step, values))


def test_trackers_get_rates_and_reasons():
    tracker = Tracker()
    run = Prepared(topo, log_with=[tracker])
    run.accelerator.init_trackers("project")
    record(run.scheduler, run.accelerator)
    run.train(1)
    assert [(step, values["lrscape/rate"]) for step, values in tracker.logged] == [
        (decision.step, decision.rates[0]) for decision in run.landscape.history
    ]
    assert len(tracker.logged) == 3


def test_what_holds_no_scheduler_is_refused():
    with pytest.raises(TypeError, match="expected one landscape-driven scheduler"):
        landscape_scheduler(LinearLR(optimizer_of(network())))


def several(rank, ranks, name):
    forget()

    def make(optimizer, model):
        return SCHEDULERS[name](optimizer, model, inner=LinearLR(optimizer, 0.5, total_iters=1000))

    run = Prepared(make, DataLoader(dataset(), batch_size=4), gradient_accumulation_steps=2)
    inner = run.landscape._schedulers[0]
    run.train(EPOCHS)
    return run.rates, decisions(run.landscape), run.landscape._steps, inner.last_epoch, run.accelerator.num_processes


@pytest.mark.slow  # two processes that load the framework
@pytest.mark.parametrize("name", SCHEDULERS)
def test_several_steps_of_one_on_two_processes(name):
    first, second = run_ranks(several, 2, name, environment=LAUNCHED)
    assert first == second
    rates, found, steps, inner, processes = first
    assert processes == 2
    assert steps == len(rates) == EPOCHS * 3
    assert inner == 2 * steps  # as Accelerate steps every schedule
    assert len({decision["step"] for decision in found}) == len(found) > 2
