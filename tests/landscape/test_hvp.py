import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curved import Encoder, Matrix, exact_hessian, trained
from examples import MODELS, loss_of
from hypothesis import given
from hypothesis import strategies as st
from once import Once
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrscape.landscape import Objective, hessian, hvp, random_directions, trace
from lrscape.landscape.curvature_operator import CurvatureOperator

MODES = ["auto", "reverse", "forward", "difference"]


def small(dtype=torch.float64):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).to(dtype)
    model(torch.randn(30, 4, dtype=dtype))
    model.eval()
    return model, torch.randn(11, 4, dtype=dtype), torch.randint(3, (11,))


def double_backward(model, batch, vectors):
    """Plain torch: (∇²L)v for each row."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):
        slopes = torch.autograd.grad(loss_of(model, batch), parameters, create_graph=True, allow_unused=True)
    alive = [(s, i) for i, s in enumerate(slopes) if s is not None and s.requires_grad]
    pieces = [v.split([p.numel() for p in parameters]) for v in vectors]
    seeds = [[row[i].reshape(s.shape).to(s.dtype) for s, i in alive] for row in pieces]
    found = [
        torch.autograd.grad([s for s, _ in alive], parameters, seed, retain_graph=True, materialize_grads=True)
        for seed in seeds
    ]
    return torch.stack([torch.cat([g.flatten().float() for g in row]) for row in found])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_modes_agree_with_the_exact_hessian(mode, chunk):
    model, closure, matrix = trained()
    vectors = torch.randn(5, len(matrix), dtype=torch.float64)
    found = hvp(model, closure, vectors, mode=mode, chunk=chunk)
    tolerance = 1e-8 if mode == "difference" else 1e-12
    assert float((found - vectors @ matrix).norm() / (vectors @ matrix).norm()) < tolerance


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_model(example, mode):
    model, batch = example
    model.eval()
    coarse = any(p.dtype == torch.bfloat16 for p in model.parameters())
    if mode == "difference" and not coarse:  # in double precision a step crosses no kink of a rectifier
        model, batch = model.double(), (batch[0].double() if batch[0].is_floating_point() else batch[0], batch[1])
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    vectors = torch.randn(2, count)
    expected = double_backward(model, batch, vectors)
    found = hvp(model, lambda: loss_of(model, batch), vectors, mode=mode)
    tolerance = (0.5 if mode == "difference" else 0.1) if coarse else (0.05 if mode == "difference" else 1e-4)
    assert float((found - expected).norm() / expected.norm()) < tolerance


@pytest.mark.parametrize("kind", ["attention", "recurrent"])
def test_many_vectors_share_a_pass(kind):
    model, batch = MODELS[kind]()
    model.eval()
    count = sum(p.numel() for p in model.parameters())
    vectors = torch.randn(5, count)
    together = hvp(model, lambda: loss_of(model, batch), vectors, chunk=5)
    single = hvp(model, lambda: loss_of(model, batch), vectors, chunk=1)
    torch.testing.assert_close(together, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_transformer_with_default_attention(mode):
    model = Encoder().double().eval()
    codes = torch.randint(7, (3, 5))

    def closure():
        return F.cross_entropy(model(codes).flatten(0, 1), codes.roll(1, 1).flatten())

    with sdpa_kernel(SDPBackend.MATH):
        matrix = exact_hessian(closure(), list(model.parameters()))
    vector = torch.randn(len(matrix), dtype=torch.float64)
    found = hvp(model, closure, vector, mode=mode)
    torch.testing.assert_close(found, matrix @ vector, rtol=1e-5, atol=1e-6)


def test_a_kernel_without_second_derivative_leads_to_differences(caplog):
    model = nn.Linear(3, 1, bias=False).double()

    w = model.weight[0].detach()
    cases = {
        "cubes": (lambda: Once.apply(model.weight).sum(), torch.diag(6 * w)),  # here autograd does not even complain
        "sixth powers": (lambda: (Once.apply(model.weight) ** 2).sum(), torch.diag(30 * w**4)),
    }
    for closure, expected in cases.values():
        caplog.clear()
        with caplog.at_level("INFO", "lrscape"):
            found = hvp(model, closure, torch.eye(3))
        torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-8)
        assert len(caplog.records) == 1
        assert "differences of gradients" in caplog.text
    with pytest.raises(RuntimeError, match="once_differentiable"):
        hvp(model, cases["sixth powers"][0], torch.eye(3), mode="reverse")


def batches(x, y):
    return list(zip(x.split(4), y.split(4), strict=True))  # the last one is shorter


@pytest.mark.parametrize("mode", MODES)
def test_streamed_over_a_dataset(mode):
    model, x, y = small()
    matrix = exact_hessian(F.cross_entropy(model(x), y), list(model.parameters()))
    means = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), batches(x, y))
    each = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1], reduction="none"), batches(x, y))
    vectors = torch.randn(3, len(matrix), dtype=torch.float64)
    for objective in (means, each):
        torch.testing.assert_close(hvp(model, objective, vectors, mode=mode), vectors @ matrix, rtol=1e-6, atol=1e-8)


def test_a_sum_and_count_weighs_by_the_count():
    model, x, y = small()
    data = [(*batch, count) for batch, count in zip(batches(x, y), [1, 10, 100], strict=True)]
    objective = Objective(lambda m, batch: (F.cross_entropy(m(batch[0]), batch[1]) * batch[2], batch[2]), data)
    loss = sum(n * F.cross_entropy(model(a), b) for a, b, n in data) / 111
    matrix = exact_hessian(loss, list(model.parameters()))
    torch.testing.assert_close(hvp(model, objective, torch.eye(len(matrix))), matrix, rtol=1e-10, atol=1e-12)


def test_batches_are_summed_in_double_precision():
    """A million small curvatures after a large one: in float32 none of them would count."""
    model = nn.Linear(1, 1, bias=False)
    scales = [2.0**26] + [1.0] * 64
    objective = Objective(lambda m, batch: (batch * m.weight**2 / 2).sum(), [torch.tensor(s) for s in scales])
    found = hvp(model, objective, torch.ones(1)).item() * len(scales)
    assert found == pytest.approx(2.0**26 + 64, rel=1e-7)  # float32 additions give 2^26


@pytest.mark.parametrize("policy", ["eval", "batch", "recalibrate"])
def test_norms_follow_the_policy(policy):
    model, x, y = small()
    twin = copy.deepcopy(model).train()
    if policy == "recalibrate":
        twin[2].momentum = None
        twin[2].reset_running_stats()
        twin(x)
    twin.train(policy == "batch")
    matrix = exact_hessian(F.cross_entropy(twin(x), y), list(twin.parameters()))
    found = hvp(model, lambda: F.cross_entropy(model(x), y), torch.eye(len(matrix)), batch_norm=policy)
    torch.testing.assert_close(found, matrix, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_dropout_draws_one_mask_for_all_products(mode):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2)).double()
    x = torch.randn(6, 8, dtype=torch.float64)
    objective = Objective(lambda m, batch: (m(batch) ** 2).mean(), [x, x + 1])
    with hessian(model, objective, mode=mode, dropout=True) as H:
        matrix = H.matmat(torch.eye(18))
        again = torch.stack([H.matvec(row) for row in torch.eye(18)])
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(matrix, again, rtol=1e-6, atol=1e-7)
    assert float(torch.diag(matrix).min()) >= -1e-9


@pytest.mark.parametrize("mode", MODES)
def test_blocks_and_frozen_parameters(mode):
    model, x, y = small()
    names = [name for name, _ in model.named_parameters()]
    sizes = [p.numel() for p in model.parameters()]
    matrix = exact_hessian(F.cross_entropy(model(x), y), list(model.parameters()))
    keep = torch.repeat_interleave(torch.tensor([name.startswith("3") for name in names]), torch.tensor(sizes))
    part = matrix[keep][:, keep]
    close = {"rtol": 1e-6, "atol": 1e-8}

    def closure():
        return F.cross_entropy(model(x), y)

    with hessian(model, closure, mode=mode) as H:
        block = H.block(["3.weight", "3.bias"])
        torch.testing.assert_close(block.matmat(torch.eye(21)), part, **close)
        torch.testing.assert_close(block.gradient(), H.gradient()[keep], **close)
        assert H.layers() == {"0": names[:2], "2": names[2:4], "3": names[4:]}
        with pytest.raises(ValueError, match="names must be among"):
            H.block(["nowhere"])
    model.requires_grad_(False)
    torch.testing.assert_close(hvp(model, closure, torch.eye(21), parameters=["3"], mode=mode), part, **close)
    assert not any(p.requires_grad for p in model.parameters())


def test_directions_and_tied_weights():
    model, batch = MODELS["attention"]()
    model.eval()
    directions = random_directions(model, 2)
    with hessian(model, lambda: loss_of(model, batch)) as H:
        flat = H.flat(directions)
        assert flat.shape == (2, H.size)
        torch.testing.assert_close(H.matmat(flat), hvp(model, H, directions))
        assert H.size == sum(p.numel() for p in model.parameters())


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_products_are_linear_and_symmetric(size, seed):
    stream = np.random.default_rng(seed)
    matrix = stream.standard_normal((size, size))
    model = Matrix(matrix + matrix.T, stream.standard_normal(size))
    a, b = torch.from_numpy(stream.standard_normal((2, size)))
    with hessian(model, model.loss) as H:
        np.testing.assert_allclose(H.matvec(a) @ b, H.matvec(b) @ a, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(H.matvec(2 * a - b), 2 * H.matvec(a) - H.matvec(b), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(H.matmat(torch.eye(size)), model.matrix, rtol=1e-9, atol=1e-9)
        assert H.products == 5 + size


def test_linear_losses_have_none():
    model = nn.Linear(2, 1)
    for mode in ("auto", "reverse", "forward", "difference"):
        assert hvp(model, lambda: model.weight.sum(), torch.ones(3), mode=mode).abs().max() < 1e-3
    assert hvp(model, lambda: model.weight.sum(), torch.ones(3), mode="reverse").tolist() == [0, 0, 0]


def test_half_precision_parameters_give_float32():
    model = nn.Linear(2, 1, bias=False).bfloat16()
    found = hvp(model, lambda: (model.weight.float() ** 2).sum(), torch.tensor([1.0, 2.0]))
    assert found.dtype == torch.float32
    assert found.tolist() == [2.0, 4.0]


def test_an_exhausted_device_gets_fewer_vectors(monkeypatch):
    from lrscape.landscape import linearisation, reverse_hessian

    model, closure, matrix = trained()
    sizes = []

    def limited(outputs, inputs, vectors, together):
        sizes.append(len(vectors[0]))
        if len(vectors[0]) > 3:
            raise torch.OutOfMemoryError
        return linearisation.differentiate(outputs, inputs, vectors, together)

    monkeypatch.setattr(reverse_hessian, "differentiate", limited)
    vectors = torch.randn(7, len(matrix), dtype=torch.float64)
    torch.testing.assert_close(hvp(model, closure, vectors, chunk=8), vectors @ matrix)
    assert sizes == [7, 4, 2, 2, 2, 1]


def test_wrong_arguments_are_named():
    model = nn.Linear(2, 1)

    def closure():
        return (model.weight**2).sum()

    with pytest.raises(ValueError, match=r"vectors must have shape \(k, 3\).*got \(1, 2\)"):
        hvp(model, closure, torch.ones(2))
    with pytest.raises(TypeError, match="vectors must be"):
        hvp(model, closure, [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="objective must be"):
        hvp(model, 3.0, torch.ones(3))
    with pytest.raises(ValueError, match="mode must be one of auto, reverse, forward, difference, got 'fast'"):
        hvp(model, closure, torch.ones(3), mode="fast")
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        hvp(model, closure, torch.ones(3), chunk=0)
    with pytest.raises(ValueError, match="batch_norm must be one of"):
        hvp(model, closure, torch.ones(3), batch_norm="train")
    with pytest.raises(ValueError, match="loader gave no batch"):
        hvp(model, Objective(lambda m, batch: m(batch).sum(), []), torch.ones(3))
    with pytest.raises(ValueError, match="no gradient with respect to the parameters"):
        hvp(model, lambda: model.weight.detach().sum(), torch.ones(3))
    with (
        pytest.raises(ValueError, match="mode must be given where the operator is opened"),
        hessian(model, closure) as H,
    ):
        trace(model, H, mode="reverse")
    assert issubclass(type(H), CurvatureOperator)


def test_a_closure_that_runs_backward_is_refused():
    model = nn.Linear(2, 2)

    def closure():
        loss = model.weight.square().sum()
        loss.backward(retain_graph=True)
        return loss

    for mode in ("auto", "difference"):
        with pytest.raises(ValueError, match=r"calls backward\(\)"):
            hvp(model, closure, torch.ones(6), mode=mode)
    assert model.weight.grad is None
