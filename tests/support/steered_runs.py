"""A small classification on which optimizers that steer themselves are trained."""

import torch
import torch.nn.functional as F
from torch import nn


def problem(dtype=torch.float32):
    """A network with BatchNorm, its inputs and classes; the same at every call."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)
    x = torch.randn(40, 4).to(dtype)
    return model, x, (x.sum(1) > 0).long() + (x[:, 0] > 1).long()


def train(model, optimizer, x, y, steps):
    """Return the rate that each step takes."""
    rates = []
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        rates.append([g["lr"] * f for g, f in zip(optimizer.param_groups, optimizer.factors, strict=True)])
        optimizer.step(data=x, target=y, criterion=F.cross_entropy)
    return rates
