"""Power iteration: the plain loop, its stop rule, warm starts and what its residual bounds."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained
from hypothesis import given
from hypothesis import strategies as st

from lrscape.landscape import hessian, power_iteration
from lrscape.landscape.random_vectors import draw, generator_from


def plain(matrix, vector, products):
    """v ← Hv/|Hv|, as every textbook has it."""
    for _ in range(products):
        vector = vector / np.linalg.norm(vector)
        value, vector, last = vector @ matrix @ vector, matrix @ vector, vector
    return value, last


@pytest.mark.parametrize("products", [1, 2, 7])
def test_equals_the_plain_loop(products):
    matrix = symmetric(25, 2)
    operator = Explicit(matrix)
    start = draw(operator, 1, generator_from(9))[0].numpy()
    value, vector = plain(matrix, start, products)
    found = power_iteration(None, operator, tolerance=0.0, max_hvps=products, seed=9)
    assert found.eigenvalue == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found.vector, vector, atol=1e-12)
    assert found.residual == pytest.approx(np.linalg.norm(matrix @ vector - value * vector), rel=1e-9)
    assert found.hvps == operator.products == products
    assert not found.converged


@given(st.integers(2, 20), st.integers(1, 30), st.integers(0, 10**6))
def test_the_residual_bounds_the_error(size, products, seed):
    matrix = symmetric(size, seed)
    found = power_iteration(None, Explicit(matrix), tolerance=0.0, max_hvps=products, seed=seed)
    assert np.abs(np.linalg.eigvalsh(matrix) - found.eigenvalue).min() <= found.residual + 1e-10


def test_the_largest_magnitude_may_be_negative():
    found = power_iteration(None, Explicit(np.diag([1.0, -4.0, 2.0])), tolerance=1e-10, max_hvps=100)
    assert found.eigenvalue == pytest.approx(-4.0, rel=1e-8)
    assert found.converged
    np.testing.assert_allclose(found.vector.abs(), [0, 1, 0], atol=1e-4)


def test_on_a_trained_network():
    model, closure, matrix = trained()
    exact = float(np.linalg.eigvalsh(matrix)[-1])
    found = power_iteration(model, closure, tolerance=1e-7, max_hvps=500)
    assert found.eigenvalue == pytest.approx(exact, rel=1e-4)
    again = power_iteration(model, closure, start=found.vector)
    assert (again.hvps, again.converged) == (2, True)
    assert again.eigenvalue == pytest.approx(exact, rel=1e-4)
    with hessian(model, closure) as H:
        assert power_iteration(model, H, tolerance=0.0, max_hvps=3).hvps == H.products == 3


def test_the_stop_rule_looks_at_the_change():
    operator = Explicit(symmetric(40, 1, decay=4.0))
    loose, tight = (power_iteration(None, operator, tolerance=t, max_hvps=200) for t in (1e-1, 1e-6))
    assert loose.converged
    assert tight.converged
    assert loose.hvps < tight.hvps < 200
    before = power_iteration(None, operator, tolerance=0.0, max_hvps=loose.hvps - 1)
    assert abs(loose.eigenvalue - before.eigenvalue) <= 1e-1 * abs(loose.eigenvalue)


def test_degenerate_matrices():
    zero = power_iteration(None, Explicit(np.zeros((4, 4))))
    assert (zero.eigenvalue, zero.residual, zero.hvps, zero.converged) == (0.0, 0.0, 1, True)
    model = Matrix(np.eye(3), [1.0, 2.0, 3.0])
    lost = power_iteration(model, lambda: model.loss() * float("nan"))
    assert np.isnan(lost.eigenvalue)
    assert (lost.converged, lost.hvps) == (False, 1)


def test_wrong_arguments_are_named():
    operator = Explicit(np.eye(3))
    cases = {
        "tolerance must be 0 or more, got -0.5": {"tolerance": -0.5},
        "max_hvps must be at least 1, got 0": {"max_hvps": 0},
        r"start must have shape \(3,\)": {"start": torch.ones(4)},
        "start must be finite and not zero": {"start": torch.zeros(3)},
        "start must be a single vector, got 2; top_eigenvalues": {"start": torch.eye(3)[:2]},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            power_iteration(None, operator, **options)
    with pytest.raises(TypeError, match=r"start must be a torch\.Tensor"):
        power_iteration(None, operator, start=3.0)
