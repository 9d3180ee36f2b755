"""Parameters without a path from the loss count as zero, unless a reentrant checkpoint only hides them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from lrscape.landscape import fisher, gauss_newton, gradient_direction, hvp, kappa, top_eigenvalues, trace
from lrscape.schedulers import HomotopyLR

X, Y = torch.randn(16, 4), torch.randint(3, (16,))


class Checkpointed(nn.Module):
    """Two layers, the first of them within a checkpoint unless ``reentrant`` is None."""

    def __init__(self, reentrant):
        super().__init__()
        self.a, self.b, self.reentrant = nn.Linear(4, 8), nn.Linear(8, 3), reentrant

    def first(self, x):
        return torch.tanh(self.a(x))

    def forward(self, x):
        if self.reentrant is None:
            return self.b(self.first(x))
        return self.b(checkpoint(self.first, x, use_reentrant=self.reentrant))


def made(reentrant):
    """Give the same model, whose loss has inputs that require gradients, as checkpoints need."""
    torch.manual_seed(1)
    model, x = Checkpointed(reentrant), X.clone().requires_grad_()
    return model, lambda: F.cross_entropy(model(x), Y)


def losses_of(model):
    x = X.clone().requires_grad_()
    return lambda: F.cross_entropy(model(x), Y, reduction="none")


MEASURES = {
    "hvp": lambda model, loss: hvp(model, loss, torch.ones(67)),
    "differences": lambda model, loss: hvp(model, loss, torch.ones(67), mode="difference"),
    "trace": lambda model, loss: trace(model, loss).estimate,
    "top": lambda model, loss: top_eigenvalues(model, loss, 1).eigenvalues,
    "kappa": lambda model, loss: kappa(model, loss).kappa,
    "direction": lambda model, loss: gradient_direction(model, loss).tensors["a.weight"],
}


@pytest.mark.parametrize("name", MEASURES)
def test_reentrant_checkpoints_are_refused_by_name(name):
    measure = MEASURES[name]
    with pytest.raises(ValueError, match="use_reentrant=False"):
        measure(*made(True))
    torch.testing.assert_close(measure(*made(False)), measure(*made(None)))


def test_outputs_behind_reentrant_checkpoints_are_refused():
    model, _ = made(True)
    x = X.clone().requires_grad_()
    with (
        pytest.raises(ValueError, match="use_reentrant=False"),
        gauss_newton(model, lambda: model(x), lambda z: F.cross_entropy(z, Y)) as G,
    ):
        G.matvec(torch.ones(67))
    with pytest.raises(ValueError, match="use_reentrant=False"), fisher(model, losses_of(model)) as operator:
        operator.matvec(torch.ones(67))


@pytest.mark.parametrize("criterion", ["sharpness", "kappa"])
def test_a_scheduler_names_the_checkpoint(criterion):
    model, loss = made(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = HomotopyLR(optimizer, model, criterion=criterion, interval=1)
    optimizer.step()
    with pytest.raises(ValueError, match="use_reentrant=False"):
        scheduler.probe(loss)


def test_what_comes_after_checkpoints_can_be_measured():
    vector = torch.ones(27)
    found, expected = (hvp(*made(reentrant), vector, parameters=["b"]) for reentrant in (True, None))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["auto", "reverse", "forward", "difference"])
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_a_parameter_that_is_not_used_has_no_curvature(mode, chunk):
    model, loss = made(None)
    vectors = torch.randn(3, 67)
    expected = hvp(model, loss, vectors, mode=mode, chunk=chunk)
    model.unused = nn.Linear(5, 7)
    found = hvp(model, loss, torch.cat([vectors, torch.ones(3, 42)], 1), mode=mode, chunk=chunk)
    if mode == "difference":  # its steps are shorter the longer the vectors
        torch.testing.assert_close(found[:, :67], expected, rtol=0.05, atol=0.01)
    else:
        torch.testing.assert_close(found[:, :67], expected)
    assert not found[:, 67:].any()


def test_estimates_of_a_model_with_an_unused_layer():
    model, loss = made(None)
    expected = top_eigenvalues(model, loss, 1).eigenvalues
    model.unused = nn.Linear(5, 7)
    assert float(top_eigenvalues(model, loss, 1).eigenvalues[0]) == pytest.approx(float(expected[0]), rel=1e-3)
    assert torch.isfinite(torch.tensor(trace(model, loss).estimate))
