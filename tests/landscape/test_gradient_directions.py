import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import loss_of
from torch import nn

from lrscape.landscape import Objective, evaluate, gradient_direction, line, points


def small(dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).to(dtype)
    model(torch.randn(30, 4, dtype=dtype))
    model.eval()
    return model, torch.randn(11, 4, dtype=dtype), torch.randint(3, (11,))


def batches(x, y):
    return list(zip(x.split(4), y.split(4), strict=True))  # the last one is shorter


def by_backward(model, loss):
    twin = copy.deepcopy(model)
    loss(twin).backward()
    return {name: p.grad for name, p in twin.named_parameters()}


def same(found, expected, **tolerance):
    assert set(found.tensors) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found.tensors[name][0], gradient, **tolerance)


EXACT = {"rtol": 1e-12, "atol": 1e-14}


def test_gradient_of_closure_and_of_streamed_objective():
    model, x, y = small()
    expected = by_backward(model, lambda twin: F.cross_entropy(twin(x), y))
    same(gradient_direction(model, lambda: F.cross_entropy(model(x), y)), expected, **EXACT)
    means = Objective(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), batches(x, y))
    same(gradient_direction(model, means), expected, **EXACT)
    sums = Objective(
        lambda model, batch: (F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])),
        batches(x, y),
    )
    same(gradient_direction(model, sums), expected, **EXACT)
    assert gradient_direction(model, sums).details["loss"] == pytest.approx(F.cross_entropy(model(x), y).item())


def test_a_sum_and_count_weighs_by_the_count():
    model, x, y = small()
    counts = [1, 10, 100]
    data = [(*batch, count) for batch, count in zip(batches(x, y), counts, strict=True)]
    objective = Objective(lambda m, batch: (F.cross_entropy(m(batch[0]), batch[1]) * batch[2], batch[2]), data)
    expected = by_backward(model, lambda m: sum(n * F.cross_entropy(m(a), b) for a, b, n in data) / sum(counts))
    same(gradient_direction(model, objective), expected, **EXACT)
    centre = evaluate(model, objective, gradient_direction(model, objective), points([0.0])).losses[0]
    assert gradient_direction(model, objective).details["loss"] == pytest.approx(centre, rel=1e-12)


@pytest.mark.parametrize("policy", ["eval", "batch"])
def test_slope_of_the_evaluated_loss_is_the_squared_length(policy):
    model, x, y = small()
    objective = Objective(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), batches(x, y))
    direction = gradient_direction(model, objective, batch_norm=policy)
    surface = evaluate(model, objective, direction, line(3, span=1e-5), batch_norm=policy)
    slope = (surface.losses[2] - surface.losses[0]) / 2e-5
    assert slope == pytest.approx(direction.norms()[0] ** 2, rel=1e-6)


def test_recalibrated_statistics_are_those_of_the_data():
    model, x, y = small()
    data = [(x, y)]
    objective = Objective(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), data)
    twin = copy.deepcopy(model).train()
    twin[2].momentum = 1.0
    twin(x)
    twin.eval()
    expected = by_backward(twin, lambda m: F.cross_entropy(m(x), y))
    same(gradient_direction(model, objective, batch_norm="recalibrate"), expected, **EXACT)


def test_every_kind_of_model(example):
    model, batch = example
    model.eval()
    loss = loss_of(model, batch)
    chosen = [p for p in model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(loss, chosen, allow_unused=True)
    found = gradient_direction(model, lambda: loss_of(model, batch))
    for tensor, gradient, parameter in zip(found.tensors.values(), expected, chosen, strict=True):
        assert tensor.shape == (1, *parameter.shape)
        torch.testing.assert_close(tensor[0], gradient.to(tensor.dtype))


def test_named_frozen_parameters_have_a_gradient_too():
    model, x, y = small()
    model.requires_grad_(False)
    found = gradient_direction(model, lambda: F.cross_entropy(model(x), y), parameters=["3"])
    model.requires_grad_(True)
    full = gradient_direction(model, lambda: F.cross_entropy(model(x), y))
    assert set(found.tensors) == {"3.weight", "3.bias"}
    assert torch.equal(found.tensors["3.weight"], full.tensors["3.weight"])
    assert "0.weight" in found.left_out


def test_lengths():
    model, x, y = small()

    def closure():
        return F.cross_entropy(model(x), y)

    raw = gradient_direction(model, closure)
    unit = gradient_direction(model, closure, norm="unit")
    np.testing.assert_allclose(unit.norms(), 1, rtol=1e-12)
    assert raw.details["gradient_norm"] == pytest.approx(raw.norms()[0])
    tiny = gradient_direction(model, lambda: closure() * 1e-12, norm="filter")
    large = gradient_direction(model, closure, norm="filter")
    rows = torch.linalg.vector_norm(large.tensors["0.weight"][0], dim=1)
    torch.testing.assert_close(rows, torch.linalg.vector_norm(model[0].weight.detach(), dim=1))
    torch.testing.assert_close(tiny.tensors["0.weight"], large.tensors["0.weight"])
    assert gradient_direction(model, closure, norm="filter", bias="zero").tensors["0.bias"].abs().sum() == 0


def test_dropout_draws_the_masks_of_evaluate():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2)).double()
    x = torch.randn(6, 8, dtype=torch.float64)
    torch.manual_seed(3)
    direction = gradient_direction(model, lambda: (model(x) ** 2).mean(), dropout=True)
    surface = evaluate(model, lambda: (model(x) ** 2).mean(), direction, line(3, span=1e-5), dropout=True)
    slope = (surface.losses[2] - surface.losses[0]) / 2e-5
    assert slope == pytest.approx(direction.norms()[0] ** 2, rel=1e-6)


@pytest.mark.parametrize(
    ("closure", "message"),
    [
        (lambda model: model.weight.detach().sum(), "has no gradient"),
        (lambda model: model.weight.sum() * 0, "stationary point"),
        (lambda model: (model.weight * float("nan")).sum(), "diverged"),
        (lambda model: model.weight, r"0-d torch.Tensor, got shape \(2, 2\)"),
    ],
)
def test_losses_without_a_gradient_are_refused(closure, message):
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message):
        gradient_direction(model, lambda: closure(model))


def test_a_closure_that_runs_backward_is_refused():
    model = nn.Linear(2, 2)

    def closure():
        loss = model.weight.sum()
        loss.backward(retain_graph=True)
        return loss

    with pytest.raises(ValueError, match=r"calls backward\(\)"):
        gradient_direction(model, closure)
    assert model.weight.grad is None


def test_wrong_arguments_are_named():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="objective must be"):
        gradient_direction(model, 3.0)
    with pytest.raises(ValueError, match="norm must be one of none, unit, filter, layer, got 'l2'"):
        gradient_direction(model, lambda: model.weight.sum(), norm="l2")
    with pytest.raises(ValueError, match="loader gave no batch"):
        gradient_direction(model, Objective(lambda model, batch: model(batch).sum(), []))
