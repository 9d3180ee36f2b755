"""Data and numbers that no textbook has; what holds for every scheduler is in lrscape.testing."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.landscape import (
    Objective,
    evaluate,
    grid,
    hessian,
    kappa,
    quadratic_fit,
    random_directions,
    top_eigenvalues,
)
from lrscape.landscape.exhaustion import exhausted, out_of_memory
from lrscape.schedulers import HomotopyLR, RiverLR, RunningAverage, TopoLR, TopoMeasurement, ValleyLR
from lrscape.schedulers.segment import ValleyMeasurement


def loss_of(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def batches(*sizes):
    return [(torch.randn(n, 4), torch.randint(3, (n,))) for n in sizes]


def classifier():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def test_empty_loaders_are_told():
    model = classifier()
    for call in (
        lambda: evaluate(model, Objective(loss_of, []), random_directions(model, 2), grid(3)),
        lambda: top_eigenvalues(model, Objective(loss_of, [])),
    ):
        with pytest.raises(ValueError, match="loader gave no batch"):
            call()


def test_a_last_batch_of_one_weighs_as_one():
    model, data = classifier().eval(), batches(5, 5, 1)
    found = evaluate(model, Objective(loss_of, data), random_directions(model, 2), grid(3))
    whole = tuple(torch.cat(part) for part in zip(*data, strict=True))
    with torch.no_grad():
        assert found.center == pytest.approx(float(loss_of(model, whole)), rel=1e-6)
    found = top_eigenvalues(model, Objective(loss_of, data)).eigenvalues
    np.testing.assert_allclose(found, top_eigenvalues(model, Objective(loss_of, [whole])).eigenvalues, rtol=1e-3)


@pytest.mark.parametrize("kind", [TopoLR, ValleyLR, HomotopyLR])
def test_a_probe_on_one_example(kind):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler, (batch,) = kind(optimizer, model, interval=1, warmup=0), batches(1)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
        scheduler.probe(lambda: loss_of(model, batch))
        scheduler.step()
    assert all(math.isfinite(value) for value in scheduler.history[-1].measurement.values())


def test_a_batch_of_one_has_no_variance_and_need_not_end_the_training():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        RiverLR(optimizer).observe(torch.ones(1))
    scheduler = RiverLR(optimizer, on_error="skip")
    optimizer.step()
    with pytest.warns(RuntimeWarning, match=r"could not measure at step 1 \(ValueError: .* at least two examples"):
        assert scheduler.probe(lambda: torch.ones(1)).reason == "skipped"
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is told once
        assert scheduler.probe(lambda: torch.ones(1)).reason == "skipped"
    optimizer.step()
    assert scheduler.probe(lambda: torch.tensor([1.0, 3.0])).reason == "even"
    assert [decision.step for decision in scheduler.history] == [1, 2, 3]


def topo(preset, **options):
    model = nn.Linear(2, 1)
    return TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model, preset=preset, **options)


def reasons(scheduler, losses):
    return [scheduler.observe(TopoMeasurement(loss, 0.3, 0.1, 1.0, 1.0, 0.0)).reason for loss in losses]


@pytest.mark.parametrize("preset", ["corrected", "published"])
def test_the_brake_looks_at_differences_where_losses_are_negative(preset):
    assert "brake" not in reasons(topo(preset), [-1.0, -1.1, -1.2, -0.9, -1.0])
    assert reasons(topo(preset), [-1.0, -1.0, 2.0])[-1] == "brake"
    assert "brake" not in reasons(topo(preset), [0.0, 0.0, -1.0, -1.0])


@pytest.mark.parametrize("before", [-4.0, -1.0, 0.5, 1.0, 8.0])
def test_the_brake_of_either_sign_is_one_rule(before):
    """loss > e + |e|·(brake − 1), which is brake·e where e is positive."""
    for brake in (1.5, 2.0, 3.0):
        threshold = before + (brake - 1) * abs(before)
        for loss, expected in ((threshold - 1e-6, False), (threshold + 1e-6, True)):
            scheduler = topo("corrected", brake=brake)
            scheduler.diverging(before)
            assert scheduler.diverging(loss) is expected


def test_biases_alone_are_refused_at_once():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(ValueError, match="bias='zero' leaves no direction"):
        TopoLR(optimizer, model, parameters=["bias"])
    assert TopoLR(optimizer, model, parameters=["bias"], bias="match").bias == "match"


def test_zero_weights_are_not_taken_for_a_wrong_closure():
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.zero_()
    scheduler = TopoLR(torch.optim.SGD(model.parameters(), lr=1.0), model)
    with pytest.warns(RuntimeWarning, match=r"at all 9 points: all parameters that move are 0"):
        scheduler.measure(lambda: model(torch.ones(2, 3)).sum() + model.weight.square().sum())


def test_a_poisoned_average_starts_anew():
    model = nn.Linear(2, 1)
    scheduler = ValleyLR(torch.optim.SGD(model.parameters(), lr=1.0), model)
    kept = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    scheduler._average.update(0.5)
    assert all(value.isnan().all() for value in scheduler.averaged_state_dict().values())
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), kept, strict=True):
            parameter.copy_(value)
    with pytest.warns(RuntimeWarning, match="not finite"):
        scheduler.observe(ValleyMeasurement(1.0, float("nan"), float("nan")))
    for value, expected in zip(scheduler.averaged_state_dict().values(), kept, strict=True):
        assert torch.equal(value, expected)


def test_an_average_becomes_the_weights_whatever_it_was():
    model = nn.Linear(2, 1)
    average = RunningAverage(model)
    for value in average.values:
        value.fill_(float("inf"))
    average.update(1.0)
    for value, parameter in zip(average.values, model.parameters(), strict=True):
        assert torch.equal(value, parameter)


def test_numbers_that_overflow_are_not_finite_and_raise_nothing():
    points = grid(3).coordinates
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale in (1e160, 1e300, 1.7e308):
            found = quadratic_fit(points, scale * ((points**2).sum(1) / 2))
            assert not math.isfinite(found.roughness) or found.roughness < scale
        model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        found = kappa(model, lambda: 1e200 * (model.weight**2).sum())
        assert found.kappa < 1e-100  # |g|² is infinite


def test_memory_that_does_not_suffice_keeps_its_kind():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        MemoryError(),
        RuntimeError("can't allocate memory"),
    ):
        told = exhausted(error, "one point at a time", "use less")
        assert type(told) is type(error)
        assert out_of_memory(told)
        assert "with one point at a time: use less" in str(told)


def test_curvature_tells_what_to_do_where_memory_does_not_suffice():
    model = nn.Linear(2, 1)

    def exhausting():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    with pytest.raises(torch.OutOfMemoryError, match="one vector at a time: use a smaller batch"):
        top_eigenvalues(model, exhausting)
    with pytest.raises(RuntimeError, match="shape"), hessian(model, lambda: model.weight.sum()):
        raise RuntimeError("shape")
