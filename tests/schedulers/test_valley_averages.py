"""The running average: its arithmetic, and that reading it leaves no trace."""

import copy
import pickle

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


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        self.register_buffer("mean", torch.zeros(2))


@pytest.mark.parametrize("small", [0, 8, 10**6])  # tensor by tensor, buffers in a vector, everything in one
def test_infinity_in_a_buffer_stays_what_it_is(small, monkeypatch):
    monkeypatch.setattr(averages, "SMALL", small)
    model = Masked()
    average = RunningAverage(model)
    for t, weight in enumerate((0.3, 0.7, 0.3), 1):
        model.mean.fill_(t)
        average.update(weight)
    with average.applied():
        assert model.mask.tolist() == [0.0, float("-inf")]
    assert average.values[-1].tolist() == pytest.approx([0.7 * (0.3 * 0.3 + 0.7 * 2) + 0.3 * 3] * 2)
    model.mask.zero_()
    average.update(0.3)
    assert average.values[-2].tolist() == [0.0, 0.0]
    model.mask.fill_(float("-inf"))
    average.update(0.7)
    average.update(0.3)
    assert average.values[-2].tolist() == [float("-inf")] * 2


def test_parameters_that_are_not_finite_are_not_glossed_over():
    model = nn.Linear(1, 1)
    average = RunningAverage(model)
    with torch.no_grad():
        model.weight.fill_(float("inf"))
        average.update(0.3)
        average.update(0.3)
    assert average.values[0].isnan().all()


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.register_buffer("mean", torch.zeros(2))


@pytest.mark.parametrize("small", [0, 8, 10**6])
def test_a_buffer_of_another_size_starts_anew_and_disturbs_no_other(small, monkeypatch):
    monkeypatch.setattr(averages, "SMALL", small)
    model = Growing()
    average = RunningAverage(model)
    caches = [torch.ones(2), torch.ones(4), torch.full((4,), 3.0), None, None, torch.full((4,), 5.0)]
    expected = [0.5, 1.0, 2.0, None, None, 5.0]
    mean = 0.0
    for t, (cache, value) in enumerate(zip(caches, expected, strict=True), 1):
        model.cache = cache
        model.mean = torch.full((2,), float(t))
        average.update(0.5)
        mean += 0.5 * (t - mean)
        with average.applied():
            assert model.mean.tolist() == [mean] * 2
            assert (model.cache if cache is None else model.cache.tolist()) == (
                None if cache is None else [value] * len(cache)
            )
        assert model.cache is cache
        assert len(average.state()["values"]) == 4
    model.cache = torch.full((3,), 7.0)  # not taken in yet, so it is nowhere to be read
    with average.applied():
        assert model.cache.tolist() == [7.0] * 3
    del model.cache
    with average.applied():
        assert not hasattr(model, "cache")
    average.write()
    assert "cache" not in model._buffers


def test_a_buffer_that_had_grown_is_resumed():
    model = Growing()
    average = RunningAverage(model)
    for value in (1.0, 3.0):
        model.cache = torch.full((4,), value)
        average.update(0.5)
    twin = Growing()
    other = RunningAverage(twin)
    other.restore(average.state())
    for one, own in ((model, average), (twin, other)):
        one.cache = torch.full((4,), 5.0)  # the forward pass has it grow
        own.update(0.5)
    assert torch.equal(other.values[-2], average.values[-2])
    assert other.values[-2].tolist() == [3.5] * 4


def test_parameters_that_are_unfrozen_join():
    model = network()
    model[0].requires_grad_(False)
    average = RunningAverage(model)
    shift(model)
    average.update(0.5)
    kept = average.values[0].clone()
    model[0].requires_grad_(True)
    model[3].requires_grad_(False)  # averaged on
    shift(model)
    average.update(0.5)
    assert torch.equal(average.values[0], model[0].weight)  # with what it is now
    assert torch.allclose(average.values[2], kept + 0.5 * (model[1].weight - kept))
    before = [value.clone() for value in average.values]
    shift(model)
    average.update(0.5)
    for value, old, live in zip(average.values, before, model.parameters(), strict=False):
        torch.testing.assert_close(value, old + 0.5 * (live.detach() - old))
    model[3].requires_grad_(True)
    whole = RunningAverage(model)
    whole.restore(average.state())
    assert all(torch.equal(a, b) for a, b in zip(whole.values, average.values, strict=True))
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match="the same parameters frozen"):
        RunningAverage(model).restore(average.state())


@pytest.mark.parametrize("parameters", [["0"], lambda name, _: name.startswith("0")])
def test_what_is_not_chosen_stays_out_when_it_is_unfrozen(parameters):
    model = network()
    model[3].requires_grad_(False)
    average = RunningAverage(model, parameters)
    model[3].requires_grad_(True)
    average.update(0.5)
    assert len(average.values) == 4


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_precision_is_followed(dtype, small, monkeypatch):
    monkeypatch.setattr(averages, "SMALL", small)
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    average = RunningAverage(model)
    model.to(dtype)
    for value in (3.0, 4.0):
        with torch.no_grad():
            model[0].weight.fill_(value)
        average.update(0.5)
    assert average.values[0].item() == 3.0
    assert {value.dtype for value in average.values} == {torch.float64 if dtype == torch.float64 else torch.float32}


@pytest.mark.parametrize("small", [0, 2, 10**6])
def test_copies_go_on(small, monkeypatch):
    monkeypatch.setattr(averages, "SMALL", small)
    model = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    average = RunningAverage(model)
    twins = [copy.deepcopy((model, average)), pickle.loads(pickle.dumps((model, average)))]
    for one, own in [*twins, (model, average)]:
        torch.manual_seed(1)
        for _ in range(3):
            shift(one)
            own.update(0.3)
    for _, own in twins:
        assert all(torch.equal(a, b) for a, b in zip(own.values, average.values, strict=True))
