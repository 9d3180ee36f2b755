"""The running average: its arithmetic, and that reading it leaves no trace."""

import copy

import pytest
import torch
from torch import nn

from lrscape.schedulers import RunningAverage, averages, measure_segment


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def shift(model):
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor))


def test_update_is_the_recursion():
    model = network()
    average = RunningAverage(model)
    expected = [p.detach().clone() for p in model.parameters()]
    for weight in (0.5, 0.1, 0.9):
        shift(model)
        average.update(weight)
        expected = [e + weight * (p.detach() - e) for e, p in zip(expected, model.parameters(), strict=True)]
    for value, reference in zip(average.values, expected, strict=False):
        torch.testing.assert_close(value, reference)
    assert len(average.values) == len(expected) + 2  # and BatchNorm's mean and variance


def test_large_models_are_averaged_tensor_by_tensor_to_the_same_bits(monkeypatch):
    found = []
    for small in (0, 10**6):
        monkeypatch.setattr(averages, "SMALL", small)
        model = network()
        average = RunningAverage(model)
        for weight in (0.5, 0.1, 0.9):
            shift(model)
            average.update(weight)
        found.append(average.values)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("fails", [False, True])
def test_applied_leaves_no_trace(fails):
    model = network()
    average = RunningAverage(model)
    shift(model)
    pending = model(torch.randn(8, 3)).sum()
    before = copy.deepcopy(model.state_dict())
    versions = [tensor._version for tensor in (*model.parameters(), *model.buffers())]
    places = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    try:
        with average.applied() as given:
            assert given is model
            assert torch.equal(model[0].weight, average.values[0])
            assert torch.equal(model[1].running_mean, average.values[-2])
            model.eval()(torch.randn(8, 3))
            model.train()(torch.randn(8, 3))  # moves the running statistics
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    for name, value in model.state_dict().items():
        if name != "1.num_batches_tracked":  # a count, not averaged: the forward pass above is counted
            assert torch.equal(value, before[name]), name
    tensors = [*model.parameters(), *model.buffers()]
    assert [t.data_ptr() for t in tensors] == places
    counted = [i for i, t in enumerate(tensors) if t.is_floating_point()]
    assert [tensors[i]._version for i in counted] == [versions[i] for i in counted]
    pending.backward()


def test_half_precision_is_averaged_in_single():
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = RunningAverage(model)
    with torch.no_grad():
        model.weight.fill_(2.0)
    for _ in range(100):
        average.update(1e-3)
    assert average.values[0].dtype == torch.float32
    assert average.values[0].item() == pytest.approx(2 - 0.999**100)
    with average.applied():
        assert model.weight.dtype == torch.bfloat16
        assert model.weight.item() == pytest.approx(2 - 0.999**100, rel=1e-2)
    assert model.weight.item() == 2.0


def test_restore_refuses_another_model():
    average = RunningAverage(network())
    with pytest.raises(ValueError, match="tensors"):
        average.restore(RunningAverage(nn.Linear(2, 2)).state())


def test_segment_is_the_difference_of_two_losses():
    model = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1)).double()
    average = RunningAverage(model)
    shift(model)
    x, y = torch.randn(16, 3).double(), torch.randn(16, 1).double()

    def closure():
        return ((model(x) - y) ** 2).mean()

    found = measure_segment(average, closure)
    twin = copy.deepcopy(model).train()
    here = ((twin(x) - y) ** 2).mean().item()
    with torch.no_grad():
        for parameter, value in zip(twin.parameters(), average.values, strict=False):
            parameter.copy_(value)
    there = ((twin(x) - y) ** 2).mean().item()
    assert found.loss == pytest.approx(here, rel=1e-12)
    assert found.average_loss == pytest.approx(there, rel=1e-12)
    assert found.height == found.loss - found.average_loss
