"""Plain rates of an inner scheduler are those that torch gives without us, and states fit the optimizer."""

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

from lrscape.schedulers import (
    HomotopyLR,
    InducedMetricLR,
    PerLayerHomotopyLR,
    PerLayerTopoLR,
    RiverLR,
    TopoCNNLR,
    TopoLR,
    ValleyLR,
    layer_param_groups,
)


def _powers(t):
    return 0.9**t


def _tenth_less(t):
    return 0.9


INNER = {
    "warm restarts": lambda o: CosineAnnealingWarmRestarts(o, 3, 2),
    "one cycle": lambda o: OneCycleLR(o, 0.1, total_steps=40),
    "cyclic": lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "lambda": lambda o: LambdaLR(o, _powers),
    "multiplicative": lambda o: MultiplicativeLR(o, _tenth_less),
    "multi step": lambda o: MultiStepLR(o, [2, 5]),
    "exponential": lambda o: ExponentialLR(o, 0.9),
    "linear": lambda o: LinearLR(o, 0.1, total_iters=4),
    "polynomial": lambda o: PolynomialLR(o, 8, 2.0),
    "step": lambda o: StepLR(o, 2),
    "cosine": lambda o: CosineAnnealingLR(o, 6, 1e-3),
    "constant": lambda o: ConstantLR(o, 0.3, 3),
    "sequential": lambda o: SequentialLR(o, [LinearLR(o, 0.1, total_iters=3), CosineAnnealingLR(o, 10)], [3]),
    "chained": lambda o: ChainedScheduler([LinearLR(o, 0.1, total_iters=3), ExponentialLR(o, 0.9)], o),
    "swa": lambda o: SWALR(o, 0.01, 5),
}
PARTS = "sequential", "chained"  # they have no step of their own, and torch knows no epoch for them


def optimizer():
    return torch.optim.SGD([torch.zeros(2)], lr=0.1, momentum=0.9)


def bare(inner):
    return inner


def ours(inner):
    return RiverLR(inner.optimizer, inner=inner)


def nested(inner):
    return RiverLR(inner.optimizer, inner=ours(inner))


def rates(scheduler, steps):
    found = []
    for epoch in steps:
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step(*epoch)
    return [*found, scheduler.optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize("wrap", [ours, nested])
@pytest.mark.parametrize("name", INNER)
def test_an_inner_scheduler_steps_as_if_it_were_alone(name, wrap):
    expected = rates(INNER[name](optimizer()), [()] * 12)
    assert rates(wrap(INNER[name](optimizer())), [()] * 12) == expected


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("wrap", [ours, nested])
@pytest.mark.parametrize("name", [name for name in INNER if name not in PARTS])
def test_an_inner_scheduler_follows_given_epochs(name, wrap):
    steps = [(), (), (7,), (), (1,), (), ()]
    assert rates(wrap(INNER[name](optimizer())), steps) == rates(INNER[name](optimizer()), steps)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("wrap", [ours, nested])
def test_warm_restarts_anneal_within_an_epoch(wrap):
    made = wrap(CosineAnnealingWarmRestarts(optimizer(), 2))
    found = rates(made, [(epoch + i / 4,) for epoch in range(2) for i in range(4)])
    cosine = [0.05 * (1 + np.cos(np.pi * t / 8)) for t in range(8)]
    np.testing.assert_allclose(found[1:], cosine, rtol=1e-12)


def test_a_given_epoch_is_deprecated_once():
    made = ours(LinearLR(optimizer(), 0.1, total_iters=4))
    made.optimizer.step()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        made.step(2)
    assert [str(one.message)[:19] for one in seen] == ["The epoch parameter"]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", PARTS)
def test_composed_inner_schedulers_refuse_an_epoch_and_nothing_changes(name):
    made = ours(INNER[name](optimizer()))
    made.optimizer.step()
    made.step()
    made.factors = [0.5]
    before = made.optimizer.param_groups[0]["lr"], made.last_epoch, made._inner.last_epoch if name == PARTS[0] else 0
    with pytest.raises(ValueError, match=r"inner is a \w+, which cannot be set to epoch 7"):
        made.step(7)
    assert made.optimizer.param_groups[0]["lr"] == before[0]
    assert made.last_epoch == before[1]
    twin = ours(INNER[name](optimizer()))
    twin.optimizer.step()
    twin.step()
    twin.factors = [0.5]
    assert rates(made, [()] * 4) == rates(twin, [()] * 4)


class _Own(LRScheduler):
    """A user's scheduler with a step of its own."""

    def get_lr(self):
        return [rate / (1 + self.last_epoch) for rate in self.base_lrs]

    def step(self, epoch=None):
        super().step(epoch if epoch is None else 2 * epoch)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_a_step_of_the_inner_scheduler_s_own_is_used():
    steps = [(), (3,), ()]
    assert rates(ours(_Own(optimizer())), steps) == rates(_Own(optimizer()), steps)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")  # torch's own, of a sequence in a sequence
@pytest.mark.parametrize("wrap", [ours, nested])
@pytest.mark.parametrize(
    ("name", "first"), [(name, first) for name in INNER for first in (True, False) if first or name not in PARTS]
)
def test_an_inner_scheduler_agrees_within_a_sequence(name, first, wrap):
    def run(wrap):
        held = optimizer()
        parts = [lambda: wrap(INNER[name](held)), lambda: ConstantLR(held, 0.5, 2)]
        parts = [make() for make in (parts if first else parts[::-1])]
        return rates(SequentialLR(held, parts, [5 if first else 2]), [()] * 12)

    assert run(wrap) == run(bare)


@pytest.mark.parametrize("name", PARTS)
def test_composed_inner_schedulers_second_in_a_sequence_are_refused_by_name(name):
    held = optimizer()
    made = SequentialLR(held, [ConstantLR(held, 0.5, 2), ours(INNER[name](held))], [2])
    held.step()
    made.step()
    with pytest.raises(ValueError, match=r"inner is a \w+, which cannot be set to epoch 0"):
        made.step()


@pytest.mark.parametrize("wrap", [ours, nested])
@pytest.mark.parametrize("name", INNER)
def test_a_resumed_inner_scheduler_goes_on_as_if_it_were_alone(name, wrap):
    expected = rates(INNER[name](optimizer()), [()] * 12)
    made = wrap(INNER[name](optimizer()))
    rates(made, [()] * 4)
    saved = [copy.deepcopy(made.optimizer.state_dict()), copy.deepcopy(made.state_dict())]
    made = wrap(INNER[name](optimizer()))
    made.optimizer.load_state_dict(saved[0])
    made.load_state_dict(saved[1])
    assert rates(made, [()] * 8) == expected[4:]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_a_resumed_inner_scheduler_follows_given_epochs():
    def run(wrap, resume):
        made = wrap(INNER["swa"](optimizer()))
        rates(made, [(), ()])
        if resume:
            saved = [copy.deepcopy(made.optimizer.state_dict()), copy.deepcopy(made.state_dict())]
            made = wrap(INNER["swa"](optimizer()))
            made.optimizer.load_state_dict(saved[0])
            made.load_state_dict(saved[1])
        return rates(made, [(4,), (), (1,), ()])

    assert run(ours, resume=True) == run(ours, resume=False) == run(bare, resume=False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def by_layer(model):
    return torch.optim.SGD(layer_param_groups(model), lr=0.1)


def loads(stateful):
    file = io.BytesIO()
    torch.save(stateful.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


NUMPY = {
    "gamma": lambda o, m: TopoLR(o, m, gamma=np.float64(0.5)),
    "span": lambda o, m: TopoLR(o, m, span=np.linspace(0.1, 0.2, 3)[1]),
    "seed": lambda o, m: TopoLR(o, m, seed=np.int64(1)),
    "margin": lambda o, m: HomotopyLR(o, m, margin=np.float64(0.5)),
    "growth": lambda o, m: ValleyLR(o, m, growth=np.float64(1.2)),
    "start": lambda o, m: ValleyLR(o, m, start=np.float64(1e-4)),
    "beta": lambda o, m: RiverLR(o, beta=np.float64(0.9)),
    "xi": lambda o, m: InducedMetricLR(o, xi=np.float64(0.1)),
    "min_ratio": lambda o, m: TopoLR(o, m, min_ratio=np.float32(0.5)),
    "inner": lambda o, m: TopoLR(o, m, inner=CosineAnnealingLR(o, 6, np.float64(1e-3))),
}


@pytest.mark.parametrize("option", NUMPY)
def test_a_state_with_numpy_s_numbers_loads_with_weights_only(option):
    model = network()
    scheduler = NUMPY[option](by_layer(model), model)
    for _ in range(2):
        model(torch.ones(2, 4)).square().mean().backward()
        if option == "margin":
            scheduler.probe(lambda: 1e3 * model(torch.ones(2, 4)).square().mean())
        scheduler.scale(np.float64(0.5))
        scheduler.optimizer.step()
        scheduler.step()
    assert {type(group["lr"]) for group in scheduler.optimizer.param_groups} == {float}
    loads(scheduler.optimizer)
    state = loads(scheduler)
    other = NUMPY[option](by_layer(model), model)
    other.load_state_dict(state)
    assert other.factors == scheduler.factors
    if option not in {"inner", "min_ratio"}:
        assert type(state[option]) in {int, float}
        assert state[option] == getattr(scheduler, option)


def test_a_state_shares_no_list_with_the_scheduler():
    scheduler = ours(MultiStepLR(optimizer(), [2, 5]))
    state = scheduler.state_dict()
    assert type(state["inner"]["milestones"]) is type(scheduler._inner.milestones)
    state["factors"][0] = state["rates"]["applied"][0] = state["inner"]["base_lrs"][0] = 7.0
    assert scheduler.factors == scheduler._rates.applied == [1.0]
    assert scheduler._inner.base_lrs == [0.1]


GROUPED = {
    "TopoLR": TopoLR,
    "TopoCNNLR": lambda o, m: TopoCNNLR(o, m, grid_size=5),
    "PerLayerTopoLR": PerLayerTopoLR,
    "PerLayerHomotopyLR": PerLayerHomotopyLR,
    "HomotopyLR": HomotopyLR,
    "RiverLR": lambda o, m: RiverLR(o),
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_state_of_more_groups_is_refused_and_nothing_changes(name):
    model = network()
    state = GROUPED[name](by_layer(model), model).state_dict()
    state["seed"] = state["beta"] = 9
    scheduler = GROUPED[name](torch.optim.SGD(model.parameters(), lr=0.1), model)
    before = {key: value for key, value in copy.copy(scheduler.__dict__).items() if key != "_hook"}
    if name == "TopoCNNLR":
        state["trainer"]["ready"] = False
    with pytest.raises(ValueError, match=f"the state has 2 parameter groups, the optimizer of this {name} has 1"):
        scheduler.load_state_dict(state)
    assert {key: value for key, value in scheduler.__dict__.items() if key != "_hook"} == before
    assert len(scheduler._rates.plain) == 1
    assert name != "TopoCNNLR" or scheduler._trainer.ready


@pytest.mark.parametrize("name", GROUPED)
def test_a_state_saved_before_a_new_group_s_first_step_loads(name):
    model = network()
    grown = torch.optim.SGD(model[0].parameters(), lr=0.1)
    scheduler = GROUPED[name](grown, model)
    grown.add_param_group({"params": list(model[2].parameters()), "lr": 0.01})
    state = loads(scheduler)
    other = GROUPED[name](by_layer(model), model)
    other.optimizer.load_state_dict(grown.state_dict())
    other.load_state_dict(state)
    for one in (scheduler, other):
        one.scale(0.5)
        one.optimizer.step()
        one.step()
    assert other.get_last_lr() == scheduler.get_last_lr()
    assert [float(rate) for rate in other.get_last_lr()] == pytest.approx([0.05, 0.005])
