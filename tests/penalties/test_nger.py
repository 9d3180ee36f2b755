"""Weights of tasks: the formula, its window, and its floor."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.penalties import NGER, nger_weights, task_scales

NUMBERS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3)


def slow_weights(losses, least, kappa, gamma, epsilon, floor):
    """Slow reference: number by number, by powers instead of logarithms."""
    raw = [
        (max(loss - low, 0) + epsilon) / (k + epsilon) ** gamma
        for loss, low, k in zip(losses, least, kappa, strict=True)
    ]
    return torch.tensor([(1 - floor) * r / sum(raw) + floor / len(raw) for r in raw], dtype=torch.double)


@given(losses=NUMBERS, least=NUMBERS, kappa=NUMBERS, gamma=st.floats(0, 2), floor=st.floats(0, 1))
def test_follow_the_formula_and_stay_on_the_simplex(losses, least, kappa, gamma, floor):
    tensors = [torch.tensor(values, dtype=torch.double) for values in (losses, least, kappa)]
    found = nger_weights(*tensors, gamma=gamma, floor=floor)
    torch.testing.assert_close(found, slow_weights(losses, least, kappa, gamma, 1e-6, floor))
    torch.testing.assert_close(found.sum(), torch.ones((), dtype=torch.double))
    assert (found >= floor / 3 - 1e-12).all()


@given(excess=st.floats(1e-3, 10), more=st.floats(1e-3, 10))
def test_more_excess_weighs_more_and_more_kappa_less(excess, more):
    least = torch.ones(2, dtype=torch.double)
    before = nger_weights(least + excess, least)
    assert nger_weights(least + excess + torch.tensor([more, 0.0]), least)[0] > before[0]
    assert nger_weights(least + excess, least, torch.tensor([1.0 + more, 1.0]))[0] < before[0]


def test_published_weights_starve_the_task_that_improves():
    losses, least = torch.tensor([0.5, 1.05]), torch.tensor([0.5, 1.0])
    assert nger_weights(losses, least, floor=0.0)[0] == pytest.approx(2e-5, rel=0.01)
    assert nger_weights(losses, least)[0] >= 0.05


def test_window_forgets():
    nger = NGER(1, window=3)
    history = [5.0, 1.0, 4.0, 3.0, 2.5, 6.0]
    for count, loss in enumerate(history, 1):
        nger(torch.tensor([loss]))
        assert nger.losses.min() == min(history[max(0, count - 3) : count])


def test_combines_with_weights_held_constant():
    nger = NGER(2, floor=0.0)
    nger(torch.tensor([1.0, 1.0]))
    losses = torch.tensor([2.0, 4.0], requires_grad=True)
    total = nger(losses, kappa=torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(nger.weights, torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(total, torch.tensor(3.5))
    total.backward()
    torch.testing.assert_close(losses.grad, nger.weights)


def test_a_loss_that_is_not_finite_does_not_stay():
    nger, clean = NGER(2), NGER(2)
    for k in range(4):
        losses = torch.tensor([1.0 / (k + 1), 2.0 + k])
        if k == 1:
            for bad in (math.nan, -math.inf, math.inf):
                nger(torch.tensor([bad, 2.0]))
        total = nger(losses)
        reference = clean(losses)
    torch.testing.assert_close(total, reference)


def test_state_survives_saving():
    def stream(k):
        return torch.tensor([math.sin(k) + 2, math.cos(3 * k) + 2])

    nger, resumed = NGER(2, window=4), NGER(2, window=4)
    for k in range(6):
        nger(stream(k))
    file = io.BytesIO()
    torch.save(nger.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for k in range(6, 12):
        assert torch.equal(nger(stream(k)), resumed(stream(k)))
        assert torch.equal(nger.weights, resumed.weights)


def test_eval_mode_records_nothing():
    nger = NGER(2)
    nger(torch.tensor([1.0, 2.0]))
    before = nger.losses.clone()
    nger.eval()(torch.tensor([0.1, 0.2]))
    assert torch.equal(nger.losses, before)


def test_scales_are_squared_gradients_of_the_shared_parameters():
    trunk, heads = nn.Linear(3, 4), [nn.Linear(4, 1) for _ in range(2)]
    x = torch.randn(5, 3)
    losses = [head(trunk(x).tanh()).square().mean() for head in heads]
    found = task_scales(losses, trunk.parameters())
    for loss, scale in zip(losses, found, strict=True):
        gradients = torch.autograd.grad(loss, list(trunk.parameters()), retain_graph=True)
        torch.testing.assert_close(scale, sum(g.square().sum() for g in gradients))
    assert all(p.grad is None for p in trunk.parameters())
    sum(losses).backward()  # the graph is still there


def test_scales_without_a_gradient_are_an_error():
    theta, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    losses = [theta.sum(), other.sum()]
    with pytest.raises(ValueError, match="task 1 has no gradient"):
        task_scales(losses, [theta])
    with pytest.raises(ValueError, match="task 0 has no gradient"):
        task_scales([losses[0].detach()], [theta])
    with pytest.raises(ValueError, match="got 2 and 0"):
        task_scales(losses, [])
    with pytest.raises(TypeError, match="not stacked, got Tensor"):
        task_scales(torch.stack(losses), [theta])


def test_errors_name_the_argument():
    two = torch.ones(2)
    for wrong, match in [
        (lambda: NGER(0), "tasks must"),
        (lambda: NGER(2, window=0), "window must"),
        (lambda: NGER(2, gamma=-1), "gamma must"),
        (lambda: NGER(2, epsilon=0.0), "epsilon must"),
        (lambda: NGER(2, floor=1.1), "floor must"),
        (lambda: NGER(3)(two), "losses must be those of 3 tasks"),
        (lambda: nger_weights(two, torch.ones(3)), "least must"),
        (lambda: nger_weights(two, two, torch.ones(3)), "kappa must"),
        (lambda: nger_weights(torch.ones(()), torch.ones(())), "losses must hold"),
    ]:
        with pytest.raises(ValueError, match=match):
            wrong()
