"""Gauss-Newton and empirical Fisher matrices against products of written-out Jacobians."""

import pytest
import torch
import torch.nn.functional as F
from curved import Encoder, exact_hessian
from once import Once
from torch import nn
from torch.func import functional_call, jacrev

from lrscape.landscape import Objective, fisher, gauss_newton, hessian, top_eigenvalues, trace

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def network(outputs=3):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, outputs)).double()
    model(torch.randn(30, 4, dtype=torch.float64))
    return model.eval(), torch.randn(11, 4, dtype=torch.float64), torch.randint(outputs, (11,))


def jacobian(model, x):
    """∂z/∂θ of shape (N·C, P), by torch.func."""
    names = [name for name, _ in model.named_parameters()]
    parts = jacrev(lambda values: functional_call(model, values, (x,)))(dict(model.named_parameters()))
    return torch.cat([parts[name].reshape(-1, dict(model.named_parameters())[name].numel()) for name in names], 1)


def eye(operator):
    return torch.eye(operator.size, dtype=operator.dtype)


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_gauss_newton_is_jacobian_loss_jacobian(chunk):
    model, x, y = network()
    z = model(x).detach().requires_grad_()
    inner = exact_hessian(F.cross_entropy(z, y), [z])
    J = jacobian(model, x).detach()
    with gauss_newton(model, lambda: model(x), lambda z: F.cross_entropy(z, y), chunk=chunk) as G:
        torch.testing.assert_close(G.matmat(eye(G)), J.T @ inner @ J, **CLOSE)
        block = G.block(["3.weight", "3.bias"])
        torch.testing.assert_close(block.matmat(eye(block)), (J.T @ inner @ J)[-18:, -18:], **CLOSE)


def test_gradients_are_those_of_the_loss():
    model, x, y = network()
    parts = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    slope = torch.cat([part.flatten() for part in parts])
    with gauss_newton(model, lambda: model(x), lambda z: F.cross_entropy(z, y)) as G:
        torch.testing.assert_close(G.gradient(), slope, **CLOSE)
    with fisher(model, lambda: F.cross_entropy(model(x), y, reduction="none")) as matrix:
        torch.testing.assert_close(matrix.gradient(), slope, **CLOSE)


def test_cross_entropy_gives_the_fisher_matrix_of_the_model():
    """E over labels drawn from the model of the gradients' outer products."""
    model, x, _ = network()
    p = model(x).softmax(1).detach()
    J = jacobian(model, x).detach().reshape(11, 3, -1)
    expected = 0
    for label in range(3):
        g = torch.einsum("nc,ncp->np", p - F.one_hot(torch.tensor(label), 3), J)
        expected = expected + torch.einsum("n,np,nq->pq", p[:, label], g, g) / 11
    with gauss_newton(model, lambda: model(x), lambda z: F.cross_entropy(z, torch.zeros(11, dtype=torch.long))) as G:
        found = G.matmat(eye(G))
    torch.testing.assert_close(found, expected, **CLOSE)
    assert float(torch.linalg.eigvalsh(found)[0]) > -1e-12


def test_of_a_linear_model_it_is_the_hessian():
    model = nn.Linear(3, 2).double()
    x, y = torch.randn(9, 3, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    with gauss_newton(model, lambda: model(x), lambda z: F.mse_loss(z, y)) as G:
        approximate = G.matmat(eye(G))
    with hessian(model, lambda: F.mse_loss(model(x), y)) as H:
        torch.testing.assert_close(approximate, H.matmat(eye(H)), **CLOSE)


@pytest.mark.parametrize("kind", ["mean", "each", "pair"])
def test_gauss_newton_streamed_over_a_dataset(kind):
    model, x, y = network()

    def loss(z, batch):
        if kind == "pair":
            return F.cross_entropy(z, batch[1], reduction="sum"), len(z)
        return F.cross_entropy(z, batch[1], reduction="none" if kind == "each" else "mean")

    loader = list(zip(x.split(4), y.split(4), strict=True))
    with gauss_newton(model, lambda: model(x), lambda z: F.cross_entropy(z, y)) as G:
        whole, slope = G.matmat(eye(G)), G.gradient()
    with gauss_newton(model, lambda m, batch: m(batch[0]), loss, loader) as G:
        torch.testing.assert_close(G.matmat(eye(G)), whole, **CLOSE)
        torch.testing.assert_close(G.gradient(), slope, **CLOSE)


def test_fisher_is_the_second_moment_of_single_gradients():
    model, x, y = network()
    single = []
    for i in range(11):
        parts = torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), list(model.parameters()))
        single.append(torch.cat([part.flatten() for part in parts]))
    g = torch.stack(single)
    with fisher(model, lambda: F.cross_entropy(model(x), y, reduction="none")) as matrix:
        torch.testing.assert_close(matrix.matmat(eye(matrix)), g.T @ g / 11, **CLOSE)
        assert trace(model, matrix).estimate == pytest.approx(float(g.square().sum()) / 11)
    loader = list(zip(x.split(4), y.split(4), strict=True))
    streamed = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1], reduction="none"), loader)
    with fisher(model, streamed) as matrix:
        torch.testing.assert_close(matrix.matmat(eye(matrix)), g.T @ g / 11, **CLOSE)


def test_on_a_transformer_with_default_attention():
    model = Encoder().double().eval()
    codes = torch.randint(7, (3, 5))
    targets = codes.roll(1, 1).flatten()
    with gauss_newton(model, lambda: model(codes).flatten(0, 1), lambda z: F.cross_entropy(z, targets)) as G:
        found = top_eigenvalues(model, G, 3, which="both")
        assert found.converged
        assert found.eigenvalues[-1] >= -1e-9
    with fisher(model, lambda: F.cross_entropy(model(codes).flatten(0, 1), targets, reduction="none")) as matrix:
        assert trace(model, matrix).estimate > 0


def test_what_cannot_be_differentiated_is_no_silent_zero():
    model = nn.Linear(3, 1, bias=False)
    with (
        pytest.raises(ValueError, match=r"outputs cannot be differentiated twice.*mode='difference'"),
        gauss_newton(model, lambda: Once.apply(model.weight), lambda z: z.square().sum()) as G,
    ):
        G.matvec(torch.ones(3))
    with (
        pytest.raises(ValueError, match="cannot be differentiated twice"),
        fisher(model, lambda: Once.apply(model.weight).flatten()) as matrix,
    ):
        matrix.matvec(torch.ones(3))


def test_wrong_arguments_are_named():
    model, x, y = network()

    def run(outputs, loss):
        with gauss_newton(model, outputs, loss) as G:
            G.matvec(torch.ones(G.size))

    for error, message, arguments in [
        (TypeError, "outputs must be a function, got Tensor", (x, F.cross_entropy)),
        (TypeError, "loss must be a function, got str", (lambda: model(x), "mse")),
        (TypeError, r"outputs must return a torch\.Tensor, got dict; pick", (lambda: {"z": x}, lambda z: z)),
        (ValueError, "outputs have no gradient", (lambda: model(x).detach(), lambda z: z.sum())),
        (ValueError, "loss must depend on the outputs", (lambda: model(x), lambda z: x.sum())),
        (ValueError, "loss must return a 0-d tensor", (lambda: model(x), lambda z: z)),
    ]:
        with pytest.raises(error, match=message):
            run(*arguments)

    def measure(losses):
        with fisher(model, losses) as matrix:
            matrix.matvec(torch.ones(matrix.size))

    with pytest.raises(ValueError, match=r"one number per example, shape \(N,\), got shape \(\); use reduction='none'"):
        measure(lambda: F.cross_entropy(model(x), y))
    with pytest.raises(TypeError, match="losses must return a tensor of one loss per example, got float"):
        measure(lambda: 1.0)
    with pytest.raises(TypeError, match="loss_fn must return a tensor of one loss per example, got tuple"):
        measure(Objective(lambda m, batch: (m(batch).sum(), 3), [x]))
    with pytest.raises(TypeError, match="objective must be"):
        measure(3.0)
