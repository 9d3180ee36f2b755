"""Every estimator on a transformer, streamed over data, in every mode and precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curved import Encoder, exact_hessian
from examples import MODELS, loss_of
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrscape.landscape import (
    Objective,
    by_layer,
    frobenius,
    gradient_curvature,
    hessian,
    hvp,
    kappa,
    power_iteration,
    preconditioned_sharpness,
    spectral_density,
    top_eigenvalues,
    trace,
)

# Each gives numbers that the exact matrix and gradient determine, from products with vectors drawn from the seed.
ESTIMATORS = {
    "top_eigenvalues": lambda m, c, **o: (
        top_eigenvalues(m, c, 2, which="both", tolerance=0, max_hvps=12, **o).eigenvalues
    ),
    "power_iteration": lambda m, c, **o: power_iteration(m, c, max_hvps=6, **o).eigenvalue,
    "xtrace": lambda m, c, **o: trace(m, c, max_hvps=20, **o).samples,
    "hutchinson": lambda m, c, **o: trace(m, c, method="hutchinson", max_hvps=12, **o).samples,
    "frobenius": lambda m, c, **o: frobenius(m, c, max_hvps=12, **o).square,
    "spectral_density": lambda m, c, **o: spectral_density(m, c, vectors=2, steps=6, **o).ritz_values,
    "gradient_curvature": lambda m, c, **o: gradient_curvature(m, c, **o).curvature,
    "kappa": lambda m, c, **o: kappa(m, c, **o).kappa,
    "preconditioned": lambda m, c, **o: (
        preconditioned_sharpness(m, c, torch.optim.SGD(m.parameters(), 0.1), max_hvps=8, tolerance=0, **o).sharpness
    ),
    "by_layer": lambda m, c, **o: [x.eigenvalue for x in by_layer(power_iteration, m, c, max_hvps=3, **o).values()],
}


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    model = Encoder().double().eval()
    codes = torch.randint(7, (6, 5))
    return model, codes, codes.roll(1, 1)


def token_loss(model, batch):
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_transformer_with_default_attention(transformer, name):
    """As with the plain kernel, chosen by hand: torch picks a fused one, which has no second derivative."""
    model, codes, targets = transformer
    estimate = ESTIMATORS[name]
    found = estimate(model, lambda: token_loss(model, (codes, targets)))
    with sdpa_kernel(SDPBackend.MATH):
        expected = estimate(model, lambda: token_loss(model, (codes, targets)), mode="reverse")
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.isfinite(found).all()


def test_the_spectrum_of_an_attention_layer(transformer):
    model, codes, targets = transformer
    part = "body.layers.0.self_attn"
    with sdpa_kernel(SDPBackend.MATH):
        loss = token_loss(model, (codes, targets))
        matrix = exact_hessian(loss, list(model.get_submodule(part).parameters())).detach()
    exact = torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()
    settings = {"which": "both", "tolerance": 1e-6, "parameters": [part]}
    found = top_eigenvalues(model, lambda: token_loss(model, (codes, targets)), 2, **settings)
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues, exact[[-1, -2, 1, 0]], rtol=1e-8)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_streamed_over_a_dataset_equals_the_whole(transformer, name):
    model, codes, targets = transformer
    data = list(zip(codes.split(4), targets.split(4), strict=True))
    estimate = ESTIMATORS[name]
    expected = estimate(model, lambda: token_loss(model, (codes, targets)))
    for settings in ({}, {"chunk": 1}):
        np.testing.assert_allclose(
            estimate(model, Objective(token_loss, data), **settings), expected, rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["top_eigenvalues", "xtrace", "by_layer"])
def test_every_kind_of_model(kind, name):
    torch.manual_seed(1)
    model, batch = MODELS[kind]()
    model.eval()
    found = ESTIMATORS[name](model, lambda: loss_of(model, batch))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_forward_mode_and_differences_agree(name):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(12, 4, dtype=torch.float64), torch.randint(3, (12,))
    estimate = ESTIMATORS[name]
    expected = estimate(model, lambda: F.cross_entropy(model(x), y))
    for mode, close in (("forward", 1e-9), ("difference", 1e-4)):
        found = estimate(model, lambda: F.cross_entropy(model(x), y), mode=mode)
        np.testing.assert_allclose(found, expected, rtol=close, atol=close)


def test_each_pass_over_the_data_serves_all_vectors():
    """Three runs of Lanczos, ten of Hutchinson's vectors: one pass each."""
    passes = 0

    class Counted(list):
        def __iter__(self):
            nonlocal passes
            passes += 1
            return super().__iter__()

    model = nn.Linear(3, 2)
    objective = Objective(lambda m, batch: m(batch).square().mean(), Counted([torch.randn(4, 3), torch.randn(4, 3)]))
    spectral_density(model, objective, vectors=3, steps=4)
    assert passes == 4
    passes = 0
    trace(model, objective, method="hutchinson", tolerance=None, max_hvps=7)
    assert passes == 1
    passes = 0
    with hessian(model, objective) as H:
        hvp(model, H, torch.randn(5, 8))
        gradient_curvature(model, H)
    assert passes == 3
