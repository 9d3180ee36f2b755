"""suggest_lr: the largest stable rate."""

import math

import pytest
import torch
import torch.nn.functional as F
from curved import Matrix, trained
from torch import nn

from lrscape.landscape import Objective, hessian
from lrscape.schedulers import suggest_lr

KINDS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "dampening": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.5, dampening=0.3),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.5, nesterov=True),
}


def run(make, lr, steps=400):
    model = Matrix(torch.diag(torch.tensor([1.0, 4.0, 9.0])), [1.0, 1.0, 1.0])
    optimizer = make(model.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step()
    return model.loss().item()


@pytest.mark.parametrize("kind", KINDS)
def test_a_little_less_converges_and_a_little_more_diverges(kind):
    model = Matrix(torch.diag(torch.tensor([1.0, 4.0, 9.0])), [1.0, 1.0, 1.0])
    found = suggest_lr(model, model.loss, KINDS[kind](model.parameters(), 1.0))
    assert found.converged
    assert run(KINDS[kind], 0.98 * found.rate) < 1e-2
    assert run(KINDS[kind], 1.02 * found.rate) > 1e2


def test_interval_holds_the_largest_stable_rate_of_a_network():
    model, loss, matrix = trained()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth = 2 / torch.linalg.eigvalsh(matrix)[-1].item()
    for tolerance in (3e-2, 1e-2, 1e-3):
        found = suggest_lr(model, loss, optimizer, tolerance=tolerance)
        low, high = found.interval
        assert low <= truth <= high * (1 + 1e-9)
        assert high / low - 1 == pytest.approx(found.residual / found.sharpness, rel=1e-9)
        assert found.rate == low
    warm = suggest_lr(model, loss, optimizer, start=found.vector)
    assert warm.hvps < found.hvps


def test_groups_get_their_proportions():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    groups = [{"params": model[0].parameters(), "lr": 10.0}, {"params": model[1].parameters(), "lr": 2.0}]
    found = suggest_lr(model, lambda: (model[0].weight ** 2 + 4 * model[1].weight ** 2).sum(), torch.optim.SGD(groups))
    assert found.rates == pytest.approx([1.0, 0.2], rel=1e-3)  # 2/(2·1) and 1.6 < 2


def test_adams_suggestion_uses_its_state():
    model, loss, matrix = trained()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    second = torch.cat([optimizer.state[p]["exp_avg_sq"].flatten() for p in model.parameters()])
    scale = ((second / (1 - 0.999**3)).sqrt() + 1e-8) ** -0.5
    truth = 38 / torch.linalg.eigvalsh(scale[:, None] * matrix * scale)[-1].item()
    found = suggest_lr(model, loss, optimizer, tolerance=1e-6, max_hvps=200)
    assert found.rate == pytest.approx(truth, rel=1e-4)
    optimizer.zero_grad()


def test_over_a_dataset_and_with_an_operator():
    model, loss, _ = trained()
    x = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(12) % 10
    objective = Objective(
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), [(x[:8], y[:8]), (x[8:], y[8:])]
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    whole = suggest_lr(model, lambda: F.cross_entropy(model(x), y), optimizer)
    assert suggest_lr(model, objective, optimizer).rate == pytest.approx(whole.rate, rel=1e-3)
    with hessian(model, loss) as operator:
        assert suggest_lr(model, operator, optimizer).rate == pytest.approx(suggest_lr(model, loss, optimizer).rate)


def test_without_upward_curvature_there_is_no_largest_rate():
    model = Matrix(torch.diag(torch.tensor([-1.0])), [1.0])
    found = suggest_lr(model, model.loss, torch.optim.SGD(model.parameters(), lr=1.0))
    assert found.rates == (math.inf,)


def test_bad_arguments():
    model = Matrix(torch.eye(2))
    assert suggest_lr(model, model.loss, torch.optim.SGD(model.parameters(), lr=0.0)).rates == pytest.approx((2.0,))
    with pytest.raises(ValueError, match="kind whose edge is known"):
        suggest_lr(model, model.loss, torch.optim.RAdam(model.parameters(), lr=1.0))
