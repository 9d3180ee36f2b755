"""The published κ, and what it does that a step size must not."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained

from lrscape.landscape import kappa, top_eigenvalues
from lrscape.landscape.random_vectors import draw, generator_from


def published(matrix, vectors, gradient):
    """The largest |vᵀHv| over Gaussian vectors, over |g|² + 1e-8."""
    return max(abs(v @ matrix @ v) for v in vectors) / (gradient @ gradient + 1e-8)


def test_hutchinson_is_the_published_formula():
    model, closure, matrix = trained()
    found = kappa(model, closure, seed=3)
    vectors = draw(Explicit(matrix), 10, generator_from(3)).numpy()
    parts = torch.autograd.grad(closure(), list(model.parameters()))
    gradient = torch.cat([part.flatten() for part in parts]).numpy()
    assert found.kappa == pytest.approx(published(matrix.numpy(), vectors, gradient), rel=1e-10)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-10)
    assert found.norm == np.abs(found.samples).max()
    assert (found.hvps, len(found.samples)) == (10, 10)


def test_power_is_five_iterations():
    matrix = symmetric(30, 2)
    operator = Explicit(matrix)
    v = draw(operator, 1, generator_from(1))[0].numpy()
    for _ in range(5):
        v, last = matrix @ (v / np.linalg.norm(v)), v / np.linalg.norm(v)
    found = kappa(None, operator, method="power", seed=1)
    assert found.norm == pytest.approx(abs(last @ matrix @ last), rel=1e-10)
    assert found.kappa == pytest.approx(found.norm / (30 + 1e-8), rel=1e-10)
    assert found.hvps == operator.products == 5
    exact = np.linalg.eigvalsh(matrix)
    assert np.abs(np.abs(exact) - found.norm).min() <= found.standard_error * (30 + 1e-8) + 1e-9


def test_a_loss_ten_times_as_large_has_a_tenth_of_it():
    """A sharpness would be ten times as large."""
    matrix = symmetric(12, 0) @ symmetric(12, 0)
    small, large = Matrix(matrix, np.ones(12)), Matrix(10 * matrix, np.ones(12))
    for method in ("hutchinson", "power"):
        one, ten = (kappa(model, model.loss, method=method).kappa for model in (small, large))
        assert ten == pytest.approx(one / 10, rel=1e-6)
    one, ten = (top_eigenvalues(model, model.loss).eigenvalues[0] for model in (small, large))
    assert ten == pytest.approx(10 * one)


def test_what_it_calls_a_norm_is_about_the_trace():
    """Eight directions of curvature 100: the norm is 100, the trace 800."""
    operator = Explicit(100 * np.eye(8))
    norms = [kappa(None, operator, seed=seed).norm for seed in range(200)]
    assert 800 < np.median(norms) < 2400
    assert min(norms) > 400


def test_the_error_is_that_of_the_largest_of_ten():
    operator = Explicit(symmetric(60, 1, decay=10.0))
    runs = [kappa(None, operator, seed=seed) for seed in range(300)]
    spread = np.std([run.kappa for run in runs], ddof=1)
    # Resampling ten values knows nothing beyond the largest of them, and is too small: of the right size, not more.
    assert 0.3 * spread < np.sqrt(np.mean([run.standard_error**2 for run in runs])) < 1.5 * spread


def test_without_a_gradient_it_explodes():
    model = Matrix(np.eye(3))
    assert kappa(model, model.loss, method="power").kappa == pytest.approx(1e8)


def test_a_loss_that_has_diverged_and_a_wrong_method():
    model = Matrix(np.eye(3), np.ones(3))
    for method in ("hutchinson", "power"):
        lost = kappa(model, lambda: model.loss() * float("nan"), method=method)
        assert np.isnan(lost.kappa)
        assert np.isnan(lost.standard_error)
    with pytest.raises(ValueError, match="method must be one of hutchinson, power, got 'lanczos'"):
        kappa(model, model.loss, method="lanczos")
