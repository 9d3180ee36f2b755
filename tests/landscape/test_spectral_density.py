"""The spectral density: moments, masses and smoothing by their definitions, and its distance from exact spectra."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lrscape.landscape import hessian, spectral_density
from lrscape.landscape.random_vectors import draw, generator_from


def apart(found, exact):
    """Wasserstein-1 distance of the point masses from the true spectrum, over its width."""
    return stats.wasserstein_distance(found.ritz_values, exact, found.ritz_weights) / np.ptp(exact)


@pytest.mark.parametrize("seed", range(5))
def test_distance_from_the_exact_spectrum(seed):
    """At 3 × 40 products at most half a percent of the width."""
    _, _, matrix = trained()
    found = spectral_density(None, Explicit(matrix), vectors=3, steps=40, seed=seed)
    assert found.hvps == 120
    assert apart(found, np.linalg.eigvalsh(matrix)) <= 0.005


def test_on_a_trained_network():
    model, closure, matrix = trained()
    with hessian(model, closure) as H:
        found = spectral_density(model, H, vectors=2, steps=30)
        assert H.products == found.hvps == 60
    same = spectral_density(None, Explicit(matrix), vectors=2, steps=30)
    np.testing.assert_allclose(found.density, same.density, rtol=1e-6, atol=1e-8)
    assert (found.vectors, found.parameters) == (2, 496)


@given(st.integers(2, 25), st.integers(1, 6), st.integers(0, 10**6))
def test_one_vectors_moments_are_exact(size, steps, seed):
    """m steps give Σ_j w_j θ_jᵖ = vᵀHᵖv/|v|² for all p below 2m (Gauss quadrature)."""
    matrix = symmetric(size, seed) / size**0.5
    operator = Explicit(matrix)
    found = spectral_density(None, operator, vectors=1, steps=steps, seed=1)
    v = draw(operator, 1, generator_from(1))[0].numpy()
    v, power = v / np.linalg.norm(v), v / np.linalg.norm(v)
    for p in range(2 * steps):
        assert found.ritz_weights @ found.ritz_values**p == pytest.approx(v @ power, rel=1e-7, abs=1e-7 * 3.0**p)
        power = matrix @ power
    assert len(found.ritz_values) == min(steps, size)
    assert np.isnan(found.standard_error).all()


@given(st.integers(2, 30), st.integers(1, 4), st.integers(1, 12), st.integers(0, 10**6))
def test_masses_are_a_distribution_within_the_spectrum(size, vectors, steps, seed):
    matrix = symmetric(size, seed)
    found = spectral_density(None, Explicit(matrix), vectors=vectors, steps=steps, points=64)
    exact = np.linalg.eigvalsh(matrix)
    assert found.ritz_weights.min() >= 0
    assert found.ritz_weights.sum() == pytest.approx(1)
    assert found.ritz_values.min() >= exact[0] - 1e-9
    assert found.ritz_values.max() <= exact[-1] + 1e-9
    assert found.hvps == vectors * min(steps, size)


def test_a_whole_small_spectrum_is_exact():
    """As many steps as parameters, in several runs: every eigenvalue is found with the mass that it has."""
    matrix = symmetric(9, 0)
    found = spectral_density(None, Explicit(matrix), vectors=3, steps=9)
    exact = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.ritz_values.reshape(3, 9), [exact] * 3, rtol=1e-9)
    np.testing.assert_allclose(found.ritz_weights, 1 / 27, rtol=1e-9)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-9)


def test_an_outlier_has_the_mass_of_one_eigenvalue():
    """Without that knowledge (u·v)² would give it anything between nothing and several times as much."""
    spectrum = np.concatenate([np.linspace(0, 1, 399), [30.0]])
    for seed in range(4):
        found = spectral_density(None, Explicit(np.diag(spectrum)), vectors=3, steps=20, seed=seed)
        assert found.ritz_weights[found.ritz_values > 15].sum() == pytest.approx(1 / 400, rel=1e-9)


def test_a_double_outlier_keeps_its_double_mass_on_average():
    spectrum = np.concatenate([np.linspace(0, 1, 98), [30.0, 30.0]])
    masses = []
    for seed in range(60):
        found = spectral_density(None, Explicit(np.diag(spectrum)), vectors=2, steps=15, seed=seed)
        masses.append(found.ritz_weights[found.ritz_values > 15].sum())
    assert np.mean(masses) == pytest.approx(2 / 100, abs=4 * np.std(masses) / 60**0.5)


def test_smoothing_is_a_sum_of_gaussians():
    found = spectral_density(None, Explicit(symmetric(80, 2)), vectors=3, steps=10, sigma=0.7, points=500)
    bells = [stats.norm.pdf(found.grid, theta, 0.7) for theta in found.ritz_values]
    np.testing.assert_allclose(found.density, found.ritz_weights @ np.array(bells), rtol=1e-9, atol=1e-15)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-3)
    assert found.grid[0] == pytest.approx(found.ritz_values.min() - 2.8)
    assert found.grid[-1] == pytest.approx(found.ritz_values.max() + 2.8)
    default = spectral_density(None, Explicit(symmetric(80, 2)), vectors=3, steps=10)
    assert default.sigma == pytest.approx(np.ptp(default.ritz_values) / 100)
    assert len(default.grid) == 1024


def test_the_standard_error_is_the_spread_over_runs():
    operator = Explicit(symmetric(300, 2))
    settings = {"steps": 8, "sigma": 3.0, "points": 50}
    runs = [spectral_density(None, operator, vectors=4, seed=seed, **settings) for seed in range(60)]
    wide = spectral_density(None, operator, vectors=1, seed=0, **settings)
    middle = [int(np.argmin(np.abs(run.grid))) for run in runs]
    densities = [run.density[i] for run, i in zip(runs, middle, strict=True)]
    stated = [run.standard_error[i] for run, i in zip(runs, middle, strict=True)]
    assert np.sqrt(np.mean(np.square(stated))) == pytest.approx(np.std(densities, ddof=1), rel=0.5)
    assert np.isnan(wide.standard_error).all()


def test_degenerate_matrices():
    zero = spectral_density(None, Explicit(np.zeros((5, 5))), vectors=2, steps=3)
    assert zero.ritz_values.tolist() == [0.0] * 6
    assert zero.sigma > 0
    single = spectral_density(None, Explicit(np.array([[4.0]])), vectors=2)
    np.testing.assert_allclose(single.ritz_values, [4.0, 4.0], rtol=1e-12)
    model = Matrix(np.eye(4), np.ones(4))
    lost = spectral_density(model, lambda: model.loss() * float("nan"), vectors=2, steps=2)
    assert np.isnan(lost.density).all()


def test_single_precision_needs_no_ghosts():
    spectrum = np.concatenate([np.linspace(0, 1, 299), [100.0]])
    found = spectral_density(None, Explicit(np.diag(spectrum), torch.float32), vectors=2, steps=60)
    assert (found.ritz_values > 50).sum() == 2
    assert apart(found, spectrum) <= 0.005


def test_wrong_arguments_are_named():
    operator = Explicit(np.eye(3))
    for message, options in {
        "vectors must be at least 1, got 0": {"vectors": 0},
        "steps must be at least 1, got 0": {"steps": 0},
        "points must be at least 2, got 1": {"points": 1},
        "sigma must be above 0, got 0": {"sigma": 0.0},
    }.items():
        with pytest.raises(ValueError, match=message):
            spectral_density(None, operator, **options)
