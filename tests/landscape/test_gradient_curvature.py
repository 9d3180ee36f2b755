"""Curvature along the gradient, and the rate that it allows."""

import numpy as np
import pytest
import torch
from curved import Matrix, symmetric, trained
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import gradient_curvature, hessian


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_closed_form_on_a_quadratic(size, seed):
    matrix = symmetric(size, seed)
    at = np.random.default_rng(seed).standard_normal(size)
    model = Matrix(matrix, at)
    found = gradient_curvature(model, model.loss)
    g = matrix @ at
    curvature = g @ matrix @ g / (g @ g)
    assert found.curvature == pytest.approx(curvature, rel=1e-9, abs=1e-12)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(g), rel=1e-9)
    assert found.best_rate == pytest.approx(1 / curvature if curvature > 0 else np.inf, rel=1e-9)
    assert found.hvps == 1


def test_the_best_rate_is_the_lowest_point_along_the_step():
    matrix = symmetric(6, 1) @ symmetric(6, 1)
    model = Matrix(matrix, np.arange(1.0, 7.0))
    found = gradient_curvature(model, model.loss)
    step = torch.from_numpy(matrix @ np.arange(1.0, 7.0))
    start = model.weight.detach().clone()

    def after(rate):
        model.weight.data = start - rate * step
        return float(model.loss().detach())

    rates = np.linspace(0, 2.5, 101) * found.best_rate
    losses = [after(rate) for rate in rates]
    assert rates[int(np.argmin(losses))] == pytest.approx(found.best_rate)
    assert after(2 * found.best_rate) == pytest.approx(after(0.0), rel=1e-9)


def test_on_a_trained_network():
    model, closure, matrix = trained()
    g = torch.cat([part.flatten() for part in torch.autograd.grad(closure(), list(model.parameters()))])
    with hessian(model, closure) as H:
        found = gradient_curvature(model, H)
        assert H.products == 1
    assert found.curvature == pytest.approx(float(g @ matrix @ g / (g @ g)), rel=1e-9)


def test_no_gradient_and_no_upward_curvature():
    flat = Matrix(np.eye(2))
    found = gradient_curvature(flat, flat.loss)
    assert np.isnan(found.curvature)
    assert np.isnan(found.best_rate)
    assert found.gradient_norm == 0
    hill = Matrix(-np.eye(2), [1.0, 0.0])
    found = gradient_curvature(hill, hill.loss)
    assert (found.curvature, found.best_rate) == (-1.0, float("inf"))


def test_small_gradients_do_not_vanish_in_single_precision():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e-15)
    found = gradient_curvature(model, lambda: (model.weight**2).sum() * 1.5e-10)
    assert found.curvature == pytest.approx(3e-10, rel=1e-5)
