"""Each group has a rate of its own, of whatever kind the user's rates are."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

from lrscape.schedulers import (
    CurvatureWarmup,
    HomotopyLR,
    InducedMetricLR,
    PerLayerHomotopyLR,
    PerLayerTopoLR,
    RiverLR,
    ValleyLR,
    layer_param_groups,
)


def network(layers=2):
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(2, 2) for _ in range(layers)])


def shared_by_default(model, rate):
    return torch.optim.SGD(layer_param_groups(model), lr=rate, foreach=False)


def shared_by_option(model, rate):
    return torch.optim.SGD([{**group, "lr": rate} for group in layer_param_groups(model)], foreach=False)


def by_layer_groups(model, rate):
    return torch.optim.SGD(layer_param_groups(model, lr=rate), foreach=False)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("make", [shared_by_default, shared_by_option, by_layer_groups])
def test_one_tensor_for_all_groups_keeps_factors_apart(make):
    model, rate = network(), torch.tensor(0.1, dtype=torch.float64)
    optimizer = make(model, rate)
    scheduler = PerLayerTopoLR(optimizer, model)
    held = [group["lr"] for group in optimizer.param_groups]
    assert held[0] is rate
    assert held[1] is not rate
    for factors in ([0.2, 0.5], [0.5, 1.0], [0.05, 0.05]):
        scheduler.factors = factors
        optimizer.step()
        scheduler.step()
        assert rates(optimizer) == pytest.approx([0.1 * factor for factor in factors])
        assert [float(last) for last in scheduler.get_last_lr()] == rates(optimizer)
    assert [group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, held, strict=True)] == [True, True]


def test_a_group_added_later_does_not_share_the_tensor_either():
    model, rate = network(), torch.tensor(0.1, dtype=torch.float64)
    optimizer = torch.optim.SGD(model[0].parameters(), lr=rate)
    scheduler = RiverLR(optimizer, inner=ExponentialLR(optimizer, 1.0))
    optimizer.add_param_group({"params": list(model[1].parameters())})
    assert optimizer.param_groups[1]["lr"] is rate
    scheduler = RiverLR(optimizer, max_ratio=[1.0, 1.0], min_ratio=0.1)
    optimizer.add_param_group({"params": [torch.zeros(1)]})
    scheduler.factors = [0.2, 0.5, 0.8]
    optimizer.step()
    scheduler.step()
    assert rates(optimizer) == pytest.approx([0.02, 0.05, 0.08])


def test_a_restored_optimizer_whose_groups_share_a_tensor_keeps_factors_apart():
    model = network()
    shared = shared_by_default(model, torch.tensor(0.1, dtype=torch.float64))
    saved = copy.deepcopy(shared.state_dict())
    optimizer = shared_by_default(model, 0.1)
    scheduler = RiverLR(optimizer)
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] is optimizer.param_groups[1]["lr"]
    scheduler.factors = [0.2, 0.5]
    optimizer.step()
    scheduler.step()
    assert rates(optimizer) == pytest.approx([0.02, 0.05])


def test_each_layer_group_has_tensors_of_its_own():
    rate, decay = torch.tensor(0.1), torch.tensor(0.01)
    groups = layer_param_groups(network(3), lr=rate, weight_decay=decay, momentum=0.9)
    assert groups[0]["lr"] is rate
    assert groups[0]["weight_decay"] is decay
    assert len({id(group["lr"]) for group in groups}) == len({id(group["weight_decay"]) for group in groups}) == 3
    assert [(float(group["lr"]), group["momentum"]) for group in groups] == [(float(rate), 0.9)] * 3


def loss(model, x):
    return model(x).square().mean()


def test_a_whole_number_may_be_the_rate():
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    model = network()
    for kind in (lambda o: ValleyLR(o, model, start=1.0), lambda o: CurvatureWarmup(o, model, start=1.0)):
        found = kind(torch.optim.SGD(model.parameters(), lr=1)).get_last_lr()
        assert found == [1]
    model = network(3)
    optimizer = torch.optim.SGD(layer_param_groups(model), lr=1)
    scheduler = PerLayerHomotopyLR(optimizer, model, max_ratio=1.0)
    decision = scheduler.probe(lambda: 1e-3 * loss(model, x))
    assert 1.0 in decision.factors
    assert decision.rates == [float(rate) for rate in scheduler.get_last_lr()] == rates(optimizer) == decision.factors


def test_a_gradient_of_zero_leaves_a_whole_rate():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    scheduler = InducedMetricLR(optimizer)
    (0 * model(torch.ones(1, 2)).sum()).backward()
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [1]


def test_a_number_of_numpy_may_be_the_rate():
    model, x = network(), torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    rate = np.float32(0.1)
    assert ValleyLR(torch.optim.SGD(model.parameters(), lr=rate), model, start=0.5).get_last_lr() == [0.5]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    scheduler = HomotopyLR(optimizer, model, margin=1e-3)
    decision = scheduler.probe(lambda: loss(model, x))
    assert decision.reason == "edge"
    assert [float(last) for last in scheduler.get_last_lr()] == rates(optimizer) == decision.rates


def test_last_rates_do_not_alias_those_of_the_groups():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    scheduler = ValleyLR(optimizer, model, start=0.01)
    scheduler.get_last_lr()[0].fill_(7.0)
    assert rates(optimizer) == pytest.approx([0.01])
