"""torch.distributed.checkpoint's own functions carry the metric of the induced-metric optimizers."""

import copy

import pytest
import torch
import torch.distributed.checkpoint as dcp
from ranks import run_ranks
from regression import loss_of, network, train
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD

KINDS = [InducedMetricSGD, InducedMetricLog, InducedMetricRMS]
OPTIONS = {
    "plain": {},
    "full": {"full_state_dict": True},
    "flat": {"flatten_optimizer_state_dict": True},
}


def halves(model):
    return [{"params": model[0].parameters()}, {"params": model[2].parameters(), "weight_decay": 0.1}]


@pytest.mark.parametrize("form", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_continues_bitwise(kind, form):
    options = StateDictOptions(**OPTIONS[form])
    whole, half, resumed = network(), network(), network()
    expected = train(whole, kind(halves(whole), 0.05), 9)
    optimizer = kind(halves(half), 0.05)
    train(half, optimizer, 4)
    state = copy.deepcopy(get_optimizer_state_dict(half, optimizer, options=options))
    resumed.load_state_dict(half.state_dict())
    again = kind(halves(resumed), 0.05)
    set_optimizer_state_dict(resumed, again, state, options=options)
    assert (again.metric_steps, again.metric_average) == (4, optimizer.metric_average)
    assert train(resumed, again, 5) == expected[4:]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
@pytest.mark.parametrize("kind", [InducedMetricLog, InducedMetricRMS])
def test_a_checkpoint_fills_the_state_of_a_fresh_optimizer(kind, tmp_path):
    whole, half, resumed = network(), network(), network()
    expected = train(whole, kind(whole.parameters(), 0.05), 7)
    optimizer = kind(half.parameters(), 0.05)
    train(half, optimizer, 3)
    dcp.save({"optimizer": get_optimizer_state_dict(half, optimizer)}, checkpoint_id=tmp_path, no_dist=True)
    resumed.load_state_dict(half.state_dict())
    again = kind(resumed.parameters(), 0.05)
    state = {"optimizer": get_optimizer_state_dict(resumed, again)}
    dcp.load(state, checkpoint_id=tmp_path, no_dist=True)
    set_optimizer_state_dict(resumed, again, state["optimizer"])
    assert train(resumed, again, 4) == expected[3:]


@pytest.mark.parametrize("rate", [0.05, torch.tensor(0.05, dtype=torch.float64)], ids=["float", "tensor"])
@pytest.mark.parametrize("kind", KINDS)
def test_making_the_state_is_no_step(kind, rate):
    model, twin = network(), network()
    optimizer = kind(model.parameters(), rate)
    get_optimizer_state_dict(model, optimizer)
    assert (optimizer.metric_steps, optimizer.metric_average) == (0, None)
    assert all(entries["step"] == 0 for entries in optimizer.state.values())
    assert len(optimizer.state) == 4
    assert train(model, optimizer, 4) == train(twin, kind(twin.parameters(), 0.05), 4)


def test_a_rate_of_zero_alone_is_a_step():
    model = network()
    optimizer = InducedMetricSGD(model.parameters(), 0.0)
    loss_of(model).backward()
    optimizer.step()
    assert optimizer.metric_steps == 1
    assert optimizer.metric_average > 0


@pytest.mark.parametrize("kind", KINDS)
def test_states_without_numbers_in_their_groups_still_load(kind):
    model, twin = network(), network()
    optimizer = kind(model.parameters(), 0.05)
    train(model, optimizer, 3)
    state = copy.deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        del group["metric_average"], group["metric_steps"]
    twin.load_state_dict(model.state_dict())
    again = kind(twin.parameters(), 0.05)
    again.load_state_dict(state)
    assert train(twin, again, 3) == train(model, optimizer, 3)


def test_groups_share_the_metric_and_a_new_optimizer_starts_its_own():
    model = network()
    optimizer = InducedMetricSGD(model[0].parameters(), 0.05)
    train(model, optimizer, 3)
    optimizer.add_param_group({"params": model[2].parameters(), "metric_steps": 7})
    assert [group["metric_steps"] for group in optimizer.param_groups] == [3, 3]
    assert optimizer.param_groups[1]["metric_average"] is optimizer.metric_average
    groups = [dict(group) for group in optimizer.param_groups]
    other = InducedMetricSGD(groups, 0.05)
    assert (other.metric_steps, other.metric_average, optimizer.metric_steps) == (0, None, 3)


def sharded(rank, ranks):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    optimizer = InducedMetricRMS(model.parameters(), 0.05)
    before = get_optimizer_state_dict(model, optimizer)
    counted = [optimizer.metric_steps]
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # as a warmup starts
    for name, p in model.named_parameters():  # zero here, but not on the other rank
        p.grad = torch.zeros_like(p)
        if rank == 0 and name == "0.weight":
            p.grad.to_local().fill_(1.0)
    optimizer.step()
    counted.append(optimizer.metric_steps)
    average = optimizer.metric_average.item()
    set_optimizer_state_dict(model, optimizer, before)
    return [*counted, optimizer.metric_steps], average


def test_ranks_agree_on_what_is_no_step():
    (counted, average), other = run_ranks(sharded, 2)
    assert counted == [0, 1, 0]
    assert average > 0
    assert other == (counted, average)
