"""Measuring curvature leaves everything bitwise as it was, also after an exception or an interrupt."""

import pytest
import torch
import torch.nn.functional as F
from curved import trained
from disturbed import OUTCOMES, Disturbed, Stop, mixed_modes
from examples import MODELS, loss_of
from traces import state

from lrscape.landscape import (
    Objective,
    by_layer,
    fisher,
    frobenius,
    gauss_newton,
    gradient_curvature,
    hvp,
    power_iteration,
    preconditioned_sharpness,
    spectral_density,
    top_eigenvalues,
    trace,
)


def streamed(model, closure):
    return Objective(lambda m, batch: closure(), [torch.zeros(1), torch.ones(1)])


def chosen(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def parametrised(model, closure):
    with gauss_newton(model, lambda: closure()[None], lambda z: z.square().sum()) as G:
        return top_eigenvalues(model, G, max_hvps=2)


def by_example(model, closure):
    with fisher(model, lambda: closure()[None]) as matrix:
        return trace(model, matrix, method="hutchinson", max_hvps=2)


# What is measured, and at which call of the loss it goes wrong: the first where one graph serves all products.
JOBS = {
    "top_eigenvalues": (1, lambda m, c: top_eigenvalues(m, c, max_hvps=3)),
    "frobenius": (1, lambda m, c: frobenius(m, c, max_hvps=2, batch_norm="batch", dropout=True)),
    "spectral_density": (1, lambda m, c: spectral_density(m, c, vectors=2, steps=2)),
    "gradient_curvature": (1, lambda m, c: gradient_curvature(m, c)),
    "preconditioned": (1, lambda m, c: preconditioned_sharpness(m, c, torch.optim.Adam(chosen(m)), max_hvps=2)),
    "by_layer": (1, lambda m, c: by_layer(power_iteration, m, c, max_hvps=2)),
    "gauss_newton": (1, parametrised),
    "fisher": (1, by_example),
    "recalibrated": (2, lambda m, c: top_eigenvalues(m, c, max_hvps=2, batch_norm="recalibrate")),
    "forward": (2, lambda m, c: top_eigenvalues(m, c, max_hvps=2, mode="forward")),
    "difference": (3, lambda m, c: top_eigenvalues(m, c, max_hvps=2, mode="difference")),
    "streamed": (3, lambda m, c: top_eigenvalues(m, streamed(m, c), max_hvps=2)),
    "streamed difference": (4, lambda m, c: power_iteration(m, streamed(m, c), max_hvps=2, mode="difference")),
}


@pytest.fixture
def prepared(example):
    """A model in mixed modes with gradients for some of its parameters."""
    mixed_modes(example[0])
    return example


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_leaves_no_trace(prepared, job, outcome):
    model, batch = prepared
    kept = state(model)
    last, measure = JOBS[job]
    closure = Disturbed(lambda: loss_of(model, batch), outcome, last)
    with closure.ending():
        measure(model, closure)
    assert closure.calls >= last
    assert state(model) == kept


def test_a_pending_backward_still_works():
    model, batch = MODELS["convolutional"]()
    model.eval()
    expected = torch.autograd.grad(loss_of(model, batch), list(model.parameters()))
    pending = loss_of(model, batch)
    for mode in ("auto", "forward", "difference"):
        top_eigenvalues(model, lambda: loss_of(model, batch), max_hvps=2, mode=mode)
    pending.backward()
    for parameter, slope in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, slope)


def test_training_goes_on_as_if_nothing_had_been_measured():
    def run(measured):
        torch.manual_seed(3)
        model, (x, y) = MODELS["convolutional"]()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if measured:
                preconditioned_sharpness(model, lambda: F.cross_entropy(model(x), y), optimizer, max_hvps=3)
                trace(model, lambda: F.cross_entropy(model(x), y), max_hvps=10, batch_norm="batch")
            optimizer.step()
        return state(model)[0]

    with_it, without = run(True), run(False)
    assert [entry[-1] for entry in with_it] == [entry[-1] for entry in without]


def test_a_failing_product_leaves_no_trace(monkeypatch):
    from lrscape.landscape import linearisation, reverse_hessian

    model, closure, _ = trained()
    kept = state(model)
    calls = 0

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stop
        return linearisation.differentiate(*arguments)

    monkeypatch.setattr(reverse_hessian, "differentiate", failing)
    with pytest.raises(Stop):
        top_eigenvalues(model, closure, tolerance=0.0)
    assert state(model) == kept
    assert calls == 3
    monkeypatch.undo()
    assert hvp(model, closure, torch.ones(496)).shape == (496,)
