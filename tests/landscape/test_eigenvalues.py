"""Eigenvalues at either end: against dense linear algebra, a written-out Krylov space, and their own error bounds."""

import numpy as np
import pytest
import torch
from curved import Explicit, Matrix, symmetric, trained
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import hessian, hessian_directions, top_eigenvalues
from lrscape.landscape.lanczos import Lanczos
from lrscape.landscape.random_vectors import draw, generator_from

ENDS = ["largest", "smallest", "both", "magnitude"]


def dense(matrix, k, which):
    """What numpy says, in the order that is promised."""
    values = np.linalg.eigvalsh(np.asarray(matrix))[::-1]
    if which == "magnitude":
        return values[np.argsort(-np.abs(values), kind="stable")][:k]
    if which == "both" and 2 * k < len(values):
        return np.concatenate([values[:k], values[-k:]])
    return {"largest": values[:k], "smallest": values[-k:], "both": values}[which]


def krylov(matrix, start, steps):
    """Slow reference: an orthonormal basis of {v, Hv, H²v, …}, column by column, and H within it."""
    basis = np.zeros((len(matrix), 0))
    vector = start
    for _ in range(steps):
        vector = vector - basis @ (basis.T @ vector)
        vector = vector - basis @ (basis.T @ vector)
        basis = np.column_stack([basis, vector / np.linalg.norm(vector)])
        vector = matrix @ basis[:, -1]
    return np.linalg.eigvalsh(basis.T @ matrix @ basis)


@pytest.mark.parametrize(("k", "hvps", "share"), [(1, 10, 0.8), (5, 30, 1.0)])
def test_accuracy_from_any_start(k, hvps, share):
    """To 1e-8: λ_max in 10 products from four of five starts at least, the first five in 30 from all."""
    _, _, matrix = trained()
    operator, exact = Explicit(matrix), dense(matrix, k, "largest")
    runs = [top_eigenvalues(None, operator, k, tolerance=0.0, max_hvps=hvps, seed=seed) for seed in range(50)]
    errors = [np.abs(found.eigenvalues / exact - 1).max() for found in runs]
    assert np.mean(np.array(errors) <= 1e-8) >= share
    assert np.median(errors) <= 1e-9


@pytest.mark.parametrize(("k", "hvps"), [(1, 10), (5, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_accuracy_on_a_trained_network(k, hvps, seed):
    """On the graph of the loss, λ_max in 10 products and the first five in 30, each to 1e-8."""
    model, closure, matrix = trained()
    exact = dense(matrix, k, "largest")
    found = top_eigenvalues(model, closure, k, tolerance=0.0, max_hvps=hvps, seed=seed)
    assert found.hvps == hvps
    assert np.abs(found.eigenvalues / exact - 1).max() <= 1e-8
    vectors = found.vectors.double()
    true = torch.linalg.vector_norm(vectors @ matrix - torch.from_numpy(found.eigenvalues)[:, None] * vectors, dim=1)
    np.testing.assert_allclose(found.residuals, true, rtol=1e-3, atol=1e-9)


@given(st.integers(1, 12), st.integers(1, 5), st.sampled_from(ENDS), st.integers(1, 3), st.integers(0, 10**6))
def test_small_matrices_are_solved_whole(size, k, which, block, seed):
    matrix = symmetric(size, seed)
    found = top_eigenvalues(None, Explicit(matrix), k, which=which, tolerance=1e-12, block=block)
    np.testing.assert_allclose(found.eigenvalues, dense(matrix, k, which), rtol=1e-9, atol=1e-9)
    assert found.converged
    assert found.hvps <= size
    gram = found.vectors @ found.vectors.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-9)


@given(st.integers(10, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 10**6))
def test_every_bound_holds(size, steps, block, seed):
    matrix = symmetric(size, seed)
    k = min(3, steps)
    found = top_eigenvalues(None, Explicit(matrix), k, tolerance=0.0, max_hvps=steps, block=block, seed=seed)
    exact = np.linalg.eigvalsh(matrix)
    assert found.hvps <= steps
    distance = np.abs(exact[:, None] - found.eigenvalues).min(0)
    assert (distance <= found.residuals + 1e-10).all()
    assert (found.eigenvalues <= exact[::-1][: len(found.eigenvalues)] + 1e-10).all()  # from within the spectrum
    vectors = found.vectors.numpy()
    np.testing.assert_allclose(
        found.residuals, np.linalg.norm(vectors @ matrix - found.eigenvalues[:, None] * vectors, axis=1), atol=1e-9
    )


@pytest.mark.parametrize("steps", [1, 4, 11])
def test_lanczos_spans_the_krylov_space(steps):
    matrix = symmetric(30, 3)
    operator = Explicit(matrix)
    start = draw(operator, 1, generator_from(0))
    lanczos = Lanczos(operator, start, generator_from(1))
    for _ in range(steps):
        lanczos.advance()
    np.testing.assert_allclose(lanczos.ritz().values, krylov(matrix, start[0].numpy(), steps), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(lanczos.basis @ lanczos.basis.T, np.eye(steps), atol=1e-13)


def test_no_ghosts_after_many_steps():
    """Without re-orthogonalisation an outlier reappears again and again; here each occurs once."""
    spectrum = np.concatenate([np.linspace(0, 1, 117), [50.0, 60.0, 100.0]])
    found = top_eigenvalues(None, Explicit(np.diag(spectrum)), 4, tolerance=0.0, max_hvps=60)
    np.testing.assert_allclose(found.eigenvalues[:3], [100.0, 60.0, 50.0], rtol=1e-12)
    assert found.eigenvalues[3] <= 1 + 1e-10


def test_a_block_sees_both_copies_of_a_double_eigenvalue():
    spectrum = np.concatenate([[5.0, 5.0], np.linspace(-1, 1, 198)])
    operator = Explicit(np.diag(spectrum))
    twice = top_eigenvalues(None, operator, 2, block=2, tolerance=1e-6)
    np.testing.assert_allclose(twice.eigenvalues, [5.0, 5.0], rtol=1e-9)
    once = top_eigenvalues(None, operator, 2, tolerance=0.0, max_hvps=12)  # until rounding brings the other in
    np.testing.assert_allclose(once.eigenvalues[0], 5.0, rtol=1e-5)
    assert once.eigenvalues[1] <= 1.001


def test_the_tolerance_ends_the_search():
    model, closure, matrix = trained()
    loose, tight = (top_eigenvalues(model, closure, 3, tolerance=tolerance) for tolerance in (1e-1, 1e-4))
    assert loose.converged
    assert tight.converged
    assert loose.hvps < tight.hvps < 50
    for found, tolerance in ((loose, 1e-1), (tight, 1e-4)):
        assert (found.residuals <= tolerance * np.abs(np.linalg.eigvalsh(matrix)).max()).all()
    starved = top_eigenvalues(model, closure, 3, tolerance=1e-12, max_hvps=4)
    assert (starved.converged, starved.hvps) == (False, 4)


def test_products_are_counted():
    model, closure, _ = trained()
    with hessian(model, closure) as H:
        first = top_eigenvalues(model, H, 2)
        assert H.products == first.hvps
        second = top_eigenvalues(model, H, 1, which="smallest")
        assert H.products == first.hvps + second.hvps
    default = top_eigenvalues(model, closure, 1, tolerance=0.0)
    assert default.hvps == 30


def test_a_warm_start_needs_fewer_products():
    matrix = symmetric(400, 0)
    cold = top_eigenvalues(None, Explicit(matrix), 2, tolerance=1e-3, max_hvps=200)
    moved = matrix + 0.05 * symmetric(400, 1)
    again = top_eigenvalues(None, Explicit(moved), 2, tolerance=1e-3, max_hvps=200, start=cold.vectors)
    anew = top_eigenvalues(None, Explicit(moved), 2, tolerance=1e-3, max_hvps=200)
    assert again.converged
    assert again.hvps < 0.8 * anew.hvps
    np.testing.assert_allclose(again.eigenvalues, dense(moved, 2, "largest"), rtol=1e-4)
    blocks = top_eigenvalues(None, Explicit(moved), 2, tolerance=1e-3, max_hvps=200, start=cold.vectors, block=2)
    np.testing.assert_allclose(blocks.eigenvalues, dense(moved, 2, "largest"), rtol=1e-4)


def test_a_start_that_misses_the_top_still_finds_it():
    operator = Explicit(np.diag(np.linspace(0, 1, 40)))
    wrong = torch.zeros(40)
    wrong[3] = 2.0  # an eigenvector: alone it spans an invariant space
    found = top_eigenvalues(None, operator, start=wrong, tolerance=1e-8, max_hvps=40)
    np.testing.assert_allclose(found.eigenvalues, [1.0], rtol=1e-8)


def test_randomness_comes_from_the_seed_alone():
    operator = Explicit(symmetric(50, 0))
    torch.manual_seed(1)
    one = top_eigenvalues(None, operator, 2, max_hvps=8, seed=4)
    torch.manual_seed(2)
    two = top_eigenvalues(None, operator, 2, max_hvps=8, seed=4)
    other = top_eigenvalues(None, operator, 2, max_hvps=8, seed=(4, 1))
    assert np.array_equal(one.eigenvalues, two.eigenvalues)
    assert torch.equal(one.vectors, two.vectors)
    assert not np.array_equal(one.eigenvalues, other.eigenvalues)
    generator = torch.Generator().manual_seed(7)
    first = top_eigenvalues(None, operator, 2, max_hvps=8, seed=generator)
    second = top_eigenvalues(None, operator, 2, max_hvps=8, seed=generator)  # it has advanced
    assert not np.array_equal(first.eigenvalues, second.eigenvalues)


def test_degenerate_matrices():
    zero = top_eigenvalues(None, Explicit(np.zeros((7, 7))))
    assert (zero.eigenvalues.tolist(), zero.residuals.tolist(), zero.hvps, zero.converged) == ([0.0], [0.0], 1, True)
    identity = top_eigenvalues(None, Explicit(2 * np.eye(7)), 3)
    np.testing.assert_allclose(identity.eigenvalues, [2.0, 2.0, 2.0], rtol=1e-12)
    few = top_eigenvalues(None, Explicit(np.diag([1.0, 3.0])), 5)
    np.testing.assert_allclose(few.eigenvalues, [3.0, 1.0], rtol=1e-12)
    assert few.vectors.shape == (2, 2)


def test_single_precision():
    matrix = symmetric(80, 5, decay=6.0)
    found = top_eigenvalues(None, Explicit(matrix, torch.float32), 3, tolerance=1e-4)
    np.testing.assert_allclose(found.eigenvalues, dense(matrix, 3, "largest"), rtol=1e-5)
    assert found.vectors.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_has_diverged_gives_nan(value):
    model = Matrix(np.eye(3), [1.0, 2.0, 3.0])
    found = top_eigenvalues(model, lambda: model.loss() * value, 2)
    assert np.isnan(found.eigenvalues).all()
    assert not found.converged


def test_wrong_arguments_are_named():
    operator = Explicit(np.eye(3))
    cases = {
        "k must be at least 1 eigenvalue, got 0": {"k": 0},
        "which must be one of largest, smallest, both, magnitude, got 'top'": {"which": "top"},
        "tolerance must be 0 or more, got -1": {"tolerance": -1},
        "tolerance must be 0 or more, got nan": {"tolerance": float("nan")},
        "block must be at least 1 vector, got 0": {"block": 0},
        "max_hvps must be at least 4 for 4 eigenvalues, got 3": {"k": 2, "which": "both", "max_hvps": 3},
        r"start must have shape \(3,\) or \(n, 3\).*got \(2,\)": {"start": torch.ones(2)},
        r"start must have shape .*got \(0, 3\)": {"start": torch.ones(0, 3)},
        "start must be finite and not zero": {"start": torch.zeros(3)},
        "start must be finite": {"start": torch.full((3,), torch.inf)},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            top_eigenvalues(None, operator, **options)
    with pytest.raises(TypeError, match=r"start must be a torch\.Tensor"):
        top_eigenvalues(None, operator, start=[1.0, 0.0, 0.0])
    with pytest.raises(TypeError, match="seed must be a whole number"):
        top_eigenvalues(None, operator, seed="0")


def test_directions_along_the_top_eigenvectors():
    model, closure, matrix = trained()
    directions = hessian_directions(model, closure, 2, tolerance=1e-6)
    values, vectors = np.linalg.eigh(matrix.numpy())
    np.testing.assert_allclose(directions.details["eigenvalues"], values[:-3:-1], rtol=1e-9)
    assert len(directions.details["residuals"]) == 2
    flat = torch.cat([directions.tensors[name].flatten(1) for name, _ in model.named_parameters()], 1).numpy()
    np.testing.assert_allclose(np.abs(flat @ vectors[:, :-3:-1]), np.eye(2), atol=1e-5)
    np.testing.assert_allclose(directions.norms(), [1.0, 1.0], rtol=1e-10)
    assert directions.kind == "hessian"


def test_directions_of_some_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).double()
    x = torch.randn(5, 2, dtype=torch.float64)
    sharp = hessian_directions(model, lambda: model(x).square().mean(), 1, parameters=["1"])
    assert set(sharp.tensors) == {"1.weight", "1.bias"}
    assert sharp.left_out == ("0.weight", "0.bias")
    with (
        hessian(model, lambda: model(x).square().mean()) as H,
        pytest.raises(TypeError, match=r"objective must be .*got an operator"),
    ):
        hessian_directions(model, H)
