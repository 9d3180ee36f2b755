"""What counts as a step of a steered optimizer, and what a rate in a tensor becomes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from steered_runs import problem
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from lrscape.optim import HomotopyAdam, Steered, TopoAdamW
from lrscape.schedulers import DistributedState, TopoLR


class TopoSGD(Steered, torch.optim.SGD):
    def __init__(self, params, model, **options):
        super().__init__(params, **options)
        self.steer(model, lambda groups: TopoLR(groups, model, interval=1, warmup=0))


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_scaler_skips_are_none(fused):
    model, x, y = problem()
    optimizer = TopoAdamW(model.parameters(), model, lr=0.01, interval=2, warmup_steps=1, fused=fused)
    optimizer.controller.factors = [0.5]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=1000)
    counted, probed = [], []
    for number in range(8):
        optimizer.zero_grad()
        factor = 1e38 if number in (0, 3, 4) else 1.0
        scaler.scale(F.cross_entropy(model(x), y) * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.probe(lambda: F.cross_entropy(model(x), y))
        counted.append(optimizer.controller._steps)
        probed.append(len(optimizer.history))
    assert counted == [0, 1, 2, 2, 2, 3, 4, 5]
    assert probed == [0, 0, 1, 1, 1, 1, 2, 2]
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert {int(state["step"]) for state in optimizer.state.values()} == {5}


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["float", "tensor"])
def test_making_an_optimizers_state_is_no_step(rate):
    model, x, y = problem()
    optimizer = TopoAdamW(model.parameters(), model, lr=rate, foreach=False)
    state = get_optimizer_state_dict(model, optimizer)
    assert optimizer.controller._steps == 0
    assert optimizer.param_groups[0]["lr"] is rate
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    assert optimizer.controller._steps == 1
    set_optimizer_state_dict(model, optimizer, state)
    assert optimizer.controller._steps == 1  # torch's functions know the plain class's state only


def test_a_controllers_state_is_saved_beside_that_of_torchs_functions():
    def make():
        model, x, y = problem()
        return model, TopoAdamW(model.parameters(), model, lr=0.1, interval=2, warmup_steps=0), (x, y)

    def run(model, optimizer, x, y, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step(data=x, target=y, criterion=F.cross_entropy)
        return [(decision.step, decision.rates) for decision in optimizer.history]

    model, optimizer, batch = make()
    run(model, optimizer, *batch, 4)
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    states = (
        copy.deepcopy(get_optimizer_state_dict(model, optimizer)),
        DistributedState(optimizer.controller).state_dict(),
    )
    other, resumed, _ = make()
    other.load_state_dict(saved)
    set_optimizer_state_dict(other, resumed, states[0])
    DistributedState(resumed.controller).load_state_dict(states[1])
    assert run(other, resumed, *batch, 4) == run(model, optimizer, *batch, 4)


def test_a_step_whose_gradients_are_zero_counts():
    model, _, _ = problem()
    optimizer = TopoSGD(model.parameters(), model, lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert optimizer.controller._steps == 1


@pytest.mark.parametrize("kind", [TopoAdamW, HomotopyAdam, TopoSGD])
def test_a_probe_takes_a_batch_and_a_subset(kind):
    model, x, y = problem()
    options = {} if kind is TopoSGD else {"interval": 1, "warmup_steps": 0}
    optimizer = kind(model.parameters(), model, lr=0.1, **options)
    optimizer.step()
    sizes = []

    def loss(batch):
        sizes.append(len(batch[0]))
        return F.cross_entropy(model(batch[0]), batch[1])

    assert optimizer.probe(loss, (x, y), subset=8) is optimizer.history[0]
    assert set(sizes) == {8}
    optimizer.step()
    sizes.clear()
    assert optimizer.probe(loss, (x, y)) is optimizer.history[-1]
    assert set(sizes) == {40}
    optimizer.step()
    with pytest.raises(ValueError, match="subset=8 needs the batch"):
        optimizer.probe(lambda: F.cross_entropy(model(x), y), subset=8)
    assert optimizer.probe(lambda: F.cross_entropy(model(x), y)) is not None  # the turn was not lost


@pytest.mark.parametrize("factor", [1.0, 0.5])
@pytest.mark.parametrize("way", ["in place", "anew", "float"])
def test_a_rate_that_the_closure_sets_stays(way, factor):
    model, x, y = problem()
    optimizer = TopoSGD(model.parameters(), model, lr=0.1 if way == "float" else torch.tensor(0.1))
    own = optimizer.param_groups[0]["lr"]
    optimizer.controller.factors = [factor]

    def closure():
        group = optimizer.param_groups[0]
        if way == "in place":
            group["lr"].fill_(0.25)
        else:
            group["lr"] = 0.25 if way == "float" else torch.tensor(0.25)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert way != "in place" or optimizer.param_groups[0]["lr"] is own


def test_a_rate_in_place_stays_though_the_closure_raises():
    model, _, _ = problem()
    optimizer = TopoSGD(model.parameters(), model, lr=torch.tensor(0.1))
    optimizer.controller.factors = [0.5]

    def closure():
        optimizer.param_groups[0]["lr"].fill_(0.25)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(closure)
    assert float(optimizer.param_groups[0]["lr"]) == 0.25


@pytest.mark.parametrize("closed", [False, True])
def test_a_tensor_that_all_groups_share_is_scaled_once(closed):
    model, x, y = problem(torch.float64)
    twin, _, _ = problem(torch.float64)
    rate = torch.tensor(0.5, dtype=torch.float64)
    halves = [[{"params": one[0].parameters()}, {"params": one[1:].parameters()}] for one in (model, twin)]
    optimizer = TopoSGD(halves[0], model, lr=rate)
    plain = torch.optim.SGD(halves[1], lr=0.5)
    assert all(group["lr"] is rate for group in optimizer.param_groups)
    optimizer.controller.factors = [0.5, 0.25]
    cosine = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t))
    for t in range(3):
        for group, factor in zip(plain.param_groups, [0.5, 0.25], strict=True):
            group["lr"] = 0.5 / (1 + t) * factor
        for one, network in ((optimizer, model), (plain, twin)):
            one.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            one.step((lambda value=loss: value) if closed else None)
        assert [float(group["lr"]) for group in optimizer.param_groups] == [pytest.approx(0.5 / (1 + t))] * 2
        cosine.step()
    assert all(group["lr"] is rate for group in optimizer.param_groups)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
