"""The trace: both estimators against their definitions, and their stated errors against the errors they make."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained
from hypothesis import given
from hypothesis import strategies as st

from lrscape.landscape import hessian, trace
from lrscape.landscape.random_vectors import draw, generator_from
from lrscape.landscape.xtrace import XTrace


def by_definition(matrix, omega):
    """Slow reference of Epperly, Tropp & Webber: leave out one vector after the other, each with its own basis."""
    size, n = omega.shape
    estimates = []
    for i in range(n):
        basis = np.linalg.qr(matrix @ np.delete(omega, i, axis=1))[0]
        rest = omega[:, i] - basis @ (basis.T @ omega[:, i])
        rest *= np.sqrt((size - n + 1) / (rest @ rest))
        estimates.append(np.trace(basis.T @ matrix @ basis) + rest @ matrix @ rest)
    return np.array(estimates)


@pytest.mark.parametrize("blocks", [(8,), (5, 3), (1, 2, 5)])
def test_xtrace_is_its_definition(blocks):
    matrix = symmetric(60, 1, decay=9.0) + 0.01 * symmetric(60, 2)
    operator = Explicit(matrix)
    estimator = XTrace(operator, generator_from(3))
    for k in blocks:
        estimator.grow(k)
    generator = generator_from(3)
    omega = torch.cat([draw(operator, k, generator) for k in blocks]).numpy().T
    np.testing.assert_allclose(estimator.samples(), by_definition(matrix, omega), rtol=1e-10)
    assert operator.products == 2 * sum(blocks)


def test_hutchinson_is_its_definition():
    matrix = symmetric(60, 1)
    operator = Explicit(matrix)
    found = trace(None, operator, method="hutchinson", tolerance=None, max_hvps=30, seed=5)
    generator = generator_from(5)
    v = torch.cat([draw(operator, 10, generator, "rademacher") for _ in range(3)]).numpy()
    assert set(v.ravel().tolist()) == {-1.0, 1.0}
    np.testing.assert_allclose(found.samples, np.einsum("ki,ij,kj->k", v, matrix, v), rtol=1e-12)
    assert found.estimate == pytest.approx(found.samples.mean())
    assert found.standard_error == pytest.approx(found.samples.std(ddof=1) / 30**0.5)
    assert (found.hvps, found.method, found.converged) == (30, "hutchinson", False)


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_few_parameters_are_summed_exactly(size, seed):
    matrix = symmetric(size, seed)
    found = trace(None, Explicit(matrix), max_hvps=30)
    assert found.estimate == pytest.approx(np.trace(matrix), rel=1e-12, abs=1e-12)
    assert (found.standard_error, found.hvps, found.method, found.converged) == (0.0, size, "exact", True)
    assert found.interval() == (found.estimate, found.estimate)


def test_hutchinsons_variance_is_that_of_the_off_diagonal():
    """2·Σ_{i≠j} H_ij² per vector; a diagonal matrix has none."""
    matrix = symmetric(50, 4)
    operator, settings = Explicit(matrix), {"method": "hutchinson", "tolerance": None, "max_hvps": 40}
    samples = np.concatenate([trace(None, operator, seed=seed, **settings).samples for seed in range(300)])
    expected = 2 * (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2))
    assert samples.var() == pytest.approx(expected, rel=0.06)
    diagonal = trace(None, Explicit(np.diag(np.arange(50.0))), method="hutchinson", max_hvps=40)
    assert (diagonal.estimate, diagonal.standard_error, diagonal.hvps) == (1225.0, 0.0, 10)


def test_hutchinsons_interval_covers_as_often_as_it_says():
    _, _, matrix = trained()
    operator, truth = Explicit(matrix), float(np.trace(matrix))
    hits = 0
    for seed in range(2000):
        low, high = trace(None, operator, method="hutchinson", tolerance=None, max_hvps=20, seed=seed).interval(0.95)
        hits += low <= truth <= high
    assert 0.92 <= hits / 2000 <= 0.98


def test_xtrace_is_accurate_and_knows_how_much():
    """At 99 products an RMS error of at most 0.7 %, and of at most twice what is stated."""
    _, _, matrix = trained()
    operator, truth = Explicit(matrix), float(np.trace(matrix))
    runs = [trace(None, operator, method="xtrace", tolerance=None, max_hvps=99, seed=seed) for seed in range(100)]
    assert {run.hvps for run in runs} == {98}
    errors = np.array([run.estimate for run in runs]) - truth
    rms = float(np.sqrt(np.mean(errors**2)))
    stated = float(np.sqrt(np.mean([run.standard_error**2 for run in runs])))
    assert rms / truth <= 0.007
    assert 0.25 * stated <= rms <= 2 * stated
    assert abs(errors.mean()) <= 4 * rms / 10  # without bias


def test_on_a_trained_network():
    model, closure, matrix = trained()
    truth = float(np.trace(matrix))
    with hessian(model, closure) as H:
        found = trace(model, H)
        assert found.hvps == H.products
    assert found.method == "xtrace"
    assert found.converged
    assert found.standard_error <= 0.02 * found.estimate
    assert abs(found.estimate - truth) <= 4 * found.standard_error
    assert found.hvps < 99


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_the_stop_rule_looks_at_the_error(method):
    operator = Explicit(symmetric(300, 1, decay=20.0) + np.eye(300))
    loose, tight = (trace(None, operator, method=method, tolerance=t, max_hvps=200) for t in (0.05, 0.002))
    assert loose.converged
    assert loose.standard_error <= 0.05 * loose.estimate
    assert loose.hvps % 10 == 0
    assert loose.hvps < tight.hvps
    never = trace(None, operator, method=method, tolerance=1e-9, max_hvps=45)
    assert (never.converged, never.hvps) == (False, 45 if method == "hutchinson" else 44)
    assert trace(None, operator, method=method, tolerance=None, max_hvps=44).hvps == 44


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rank", "live"), [(3, 150), (7, 150), (7, 7), (0, 150)])
@pytest.mark.parametrize("tolerance", [None, 1e-9])
def test_a_matrix_of_low_rank_is_summed_whole(dtype, rank, live, tolerance):
    """Also where most rows are exactly zero, so that rounding cannot fill up the basis."""
    factor = np.random.default_rng(1).standard_normal((live, rank))
    matrix = np.zeros((150, 150))
    matrix[:live, :live] = factor @ factor.T
    found = trace(None, Explicit(matrix, dtype), tolerance=tolerance, max_hvps=60)
    close = 1e-10 if dtype == torch.float64 else 1e-4
    assert found.estimate == pytest.approx(np.trace(matrix), rel=close, abs=1e-12)
    assert found.standard_error <= close * np.trace(matrix)


def test_a_faint_bulk_is_not_taken_for_nothing():
    """Each of 100,000 eigenvalues is next to rounding beside the first; together they are a third of the trace."""
    diagonal = torch.full((100_000,), 5e-6)
    diagonal[0] = 1.0
    found = trace(None, Explicit(diagonal, torch.float32), tolerance=None, max_hvps=60)
    assert found.method == "xtrace"
    assert found.estimate == pytest.approx(1.5, rel=0.01)
    assert found.standard_error > 0


def test_intervals():
    found = trace(None, Explicit(symmetric(60, 1)), method="hutchinson", tolerance=None, max_hvps=10)
    low, high = found.interval(0.95)
    assert (low + high) / 2 == pytest.approx(found.estimate)
    assert high - low == pytest.approx(
        2 * 2.262157 * found.standard_error, rel=1e-6
    )  # t quantile, 9 degrees of freedom
    assert found.interval(0.5)[0] > low
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        found.interval(95)


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_a_loss_that_has_diverged_gives_nan(method):
    model = Matrix(symmetric(30, 0), np.ones(30))
    found = trace(model, lambda: model.loss() * float("inf"), method=method, max_hvps=20)
    assert not np.isfinite(found.estimate)
    assert np.isnan(found.standard_error)
    assert not found.converged


def test_wrong_arguments_are_named():
    operator = Explicit(np.eye(3))
    cases = {
        "method must be one of auto, xtrace, hutchinson, got 'exact'": {"method": "exact"},
        "tolerance must be above 0, or None .*got 0": {"tolerance": 0},
        "max_hvps must be at least 2, or there is no standard error, got 1": {"max_hvps": 1, "method": "hutchinson"},
        "max_hvps must be at least 4": {"max_hvps": 3},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            trace(None, operator, **options)
