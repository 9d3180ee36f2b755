"""A small trained network, and its Hessian written out."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.cli.digits import digits
from lrscape.landscape.curvature_operator import CurvatureOperator
from lrscape.landscape.parameters import movable


def exact_hessian(loss, parameters):
    """Row after row by plain double backward."""
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([slope.flatten() for slope in slopes])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True) for entry in flat]
    return torch.stack([torch.nn.utils.parameters_to_vector(row) for row in rows])


@cache
def _trained(steps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 18), nn.Tanh(), nn.Linear(18, 10)).double()
    data = digits()
    x, y = data.x.double(), data.y
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for chosen in torch.randint(len(y), (steps, 64)):
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()
    batch = x[:200], y[:200]
    matrix = exact_hessian(F.cross_entropy(model(batch[0]), batch[1]), list(model.parameters()))
    return model, batch, (matrix + matrix.T) / 2


def trained(steps=300):
    """(model, closure, exact Hessian): 496 parameters, float64, on 200 digits."""
    model, (x, y), matrix = _trained(steps)
    return model, lambda: F.cross_entropy(model(x), y), matrix


class Matrix(nn.Module):
    """A model whose loss is the quadratic of a given symmetric matrix around a point."""

    def __init__(self, matrix, at=None):
        super().__init__()
        self.matrix = torch.as_tensor(matrix, dtype=torch.float64)
        start = torch.zeros(len(self.matrix)) if at is None else torch.as_tensor(at)
        self.weight = nn.Parameter(start.double())

    def loss(self):
        return self.weight @ self.matrix @ self.weight / 2


class Explicit(CurvatureOperator):
    """A written-out matrix, or a diagonal, as an operator: where only the estimator is tested autograd takes long."""

    def __init__(self, matrix, dtype=torch.float64):
        matrix = torch.as_tensor(matrix, dtype=dtype)
        super().__init__(movable(nn.ParameterList([torch.zeros(len(matrix), dtype=dtype)])))
        self.matrix = matrix

    def _apply(self, vectors):
        return vectors @ self.matrix if self.matrix.dim() == 2 else vectors * self.matrix

    def gradient(self):
        return torch.ones(self.size, dtype=self.dtype)

    def block(self, names):
        raise NotImplementedError


class Encoder(nn.Module):
    """torch's own transformer layers, whose attention is fused by default."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.embed = nn.Embedding(7, 8)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 7)

    def forward(self, codes):
        return self.head(self.body(self.embed(codes)))


def symmetric(size, seed, decay=None):
    """A random symmetric matrix; with a decay, λ_i = exp(−i/decay)."""
    stream = np.random.default_rng(seed)
    if decay is None:
        matrix = stream.standard_normal((size, size))
        return matrix + matrix.T
    basis = np.linalg.qr(stream.standard_normal((size, size)))[0]
    return (basis * np.exp(-np.arange(size) / decay)) @ basis.T
