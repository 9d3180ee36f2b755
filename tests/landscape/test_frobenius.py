"""The Frobenius norm: E|Hv|² without bias, and how well it is known."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained

from lrscape.landscape import frobenius, hessian
from lrscape.landscape.random_vectors import draw, generator_from


def test_is_the_mean_of_squared_products():
    matrix = symmetric(40, 0)
    operator = Explicit(matrix)
    found = frobenius(None, operator, tolerance=None, max_hvps=20, seed=3)
    generator = generator_from(3)
    v = torch.cat([draw(operator, 10, generator, "rademacher") for _ in range(2)]).numpy()
    squares = np.linalg.norm(v @ matrix, axis=1) ** 2
    assert found.square == pytest.approx(squares.mean(), rel=1e-12)
    assert found.square_error == pytest.approx(squares.std(ddof=1) / 20**0.5, rel=1e-12)
    assert found.estimate == pytest.approx(found.square**0.5)
    assert found.standard_error == pytest.approx(found.square_error / (2 * found.estimate))
    assert (found.hvps, found.converged) == (20, False)


def test_the_square_has_no_bias_and_its_error_is_what_it_says():
    _, _, matrix = trained()
    operator, truth = Explicit(matrix), float(np.sum(np.asarray(matrix) ** 2))
    runs = [frobenius(None, operator, tolerance=None, max_hvps=40, seed=seed) for seed in range(400)]
    squares = np.array([run.square for run in runs])
    spread = squares.std(ddof=1)
    assert abs(squares.mean() - truth) <= 4 * spread / 400**0.5
    assert np.sqrt(np.mean([run.square_error**2 for run in runs])) == pytest.approx(spread, rel=0.2)


def test_on_a_trained_network():
    model, closure, matrix = trained()
    truth = float(np.linalg.norm(matrix))
    with hessian(model, closure) as H:
        found = frobenius(model, H, tolerance=0.05, max_hvps=500)
        assert found.hvps == H.products
    assert found.converged
    assert found.square_error <= 0.05 * found.square
    assert found.hvps % 10 == 0
    assert abs(found.estimate - truth) <= 4 * found.standard_error


def test_diagonal_and_degenerate_matrices():
    diagonal = frobenius(None, Explicit(np.diag([3.0, 4.0, 0.0])))
    assert (diagonal.estimate, diagonal.standard_error, diagonal.hvps) == (5.0, 0.0, 10)
    zero = frobenius(None, Explicit(np.zeros((3, 3))))
    assert (zero.estimate, zero.standard_error, zero.converged) == (0.0, 0.0, True)
    model = Matrix(np.eye(3), [1.0, 2.0, 3.0])
    lost = frobenius(model, lambda: model.loss() * float("inf"))
    assert not np.isfinite(lost.estimate)
    assert not lost.converged


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="max_hvps must be at least 2"):
        frobenius(None, Explicit(np.eye(3)), max_hvps=1)
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        frobenius(None, Explicit(np.eye(3)), tolerance=-1.0)
