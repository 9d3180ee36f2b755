"""Blocks of the Hessian, layer by layer, against those of the written-out matrix."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curved import exact_hessian, trained
from torch import nn

from lrscape.landscape import (
    Objective,
    by_layer,
    frobenius,
    gradient_curvature,
    hessian,
    power_iteration,
    spectral_density,
    top_eigenvalues,
    trace,
)

LAYERS = {"2": slice(0, 306), "4": slice(306, 496)}


@pytest.fixture(scope="module")
def network():
    return trained()


def test_sharpness_and_trace_of_each_layer(network):
    model, closure, matrix = network
    sharp = by_layer(top_eigenvalues, model, closure, k=2, tolerance=1e-6)
    traces = by_layer(trace, model, closure, method="hutchinson", tolerance=None, max_hvps=20)
    assert list(sharp) == list(traces) == list(LAYERS)
    for name, part in LAYERS.items():
        block = matrix[part, part].numpy()
        np.testing.assert_allclose(sharp[name].eigenvalues, np.linalg.eigvalsh(block)[:-3:-1], rtol=1e-8)
        assert sharp[name].vectors.shape == (2, len(block))
        assert abs(traces[name].estimate - np.trace(block)) <= 5 * traces[name].standard_error
    largest = float(np.linalg.eigvalsh(matrix)[-1])
    assert all(found.eigenvalues[0] <= largest * (1 + 1e-9) for found in sharp.values())


def test_traces_of_layers_add_up():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(8, 3, dtype=torch.float64)

    def closure():
        return model(x).square().mean()

    parts = by_layer(trace, model, closure)
    assert sum(found.estimate for found in parts.values()) == pytest.approx(trace(model, closure).estimate, rel=1e-10)


@pytest.mark.parametrize("estimator", [trace, top_eigenvalues, frobenius, power_iteration, gradient_curvature])
def test_every_estimator_works_on_a_block(network, estimator):
    model, closure, _ = network
    found = by_layer(estimator, model, closure)
    assert set(found) == set(LAYERS)
    for name, part in LAYERS.items():
        with hessian(model, closure) as H:
            alone = estimator(model, H.block(H.layers()[name]))
        assert str(found[name]) == str(alone)
        assert part.stop - part.start == sum(p.numel() for p in model[int(name)].parameters())


def test_densities_and_a_function_of_ones_own(network):
    model, closure, _ = network
    densities = by_layer(spectral_density, model, closure, vectors=1, steps=5)
    assert {name: found.parameters for name, found in densities.items()} == {"2": 306, "4": 190}
    sizes = by_layer(lambda model, operator, scale: scale * operator.size, model, closure, scale=2)
    assert sizes == {"2": 612, "4": 380}


def test_products_are_counted_by_block(network):
    model, closure, _ = network
    with hessian(model, closure) as H:
        found = by_layer(top_eigenvalues, model, H, max_hvps=4, tolerance=0.0)
        assert [one.hvps for one in found.values()] == [4, 4]
        assert H.products == 0
        with pytest.raises(ValueError, match="mode must be given where the operator is opened"):
            by_layer(trace, model, H, mode="reverse")


def test_streamed_over_a_dataset_and_some_parameters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randint(2, (9,))
    data = list(zip(x.split(4), y.split(4), strict=True))
    objective = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data)
    streamed = by_layer(trace, model, objective, parameters=["2"], mode="forward")
    matrix = exact_hessian(F.cross_entropy(model(x), y), list(model[2].parameters()))
    assert list(streamed) == ["2"]
    assert streamed["2"].estimate == pytest.approx(float(matrix.diagonal().sum()), rel=1e-9)


def test_names_of_layers():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))
            self.inner = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
            self.tied = nn.Linear(2, 2, bias=False)
            self.twin = nn.Linear(2, 2)
            self.twin.weight = self.tied.weight

        def forward(self, x):
            return self.twin(self.tied(self.inner(x * self.scale)))

    model = Odd().double()
    x = torch.randn(3, 2, dtype=torch.float64)
    found = by_layer(trace, model, lambda: model(x).square().sum())
    assert list(found) == ["", "inner", "tied", "twin"]
    assert [one.hvps for one in found.values()] == [2, 8, 4, 2]


def test_wrong_arguments_are_named():
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="estimator must be a function of a model and an operator, got str"):
        by_layer("trace", model, lambda: model.weight.sum())
