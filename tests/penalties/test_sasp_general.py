"""Per-example gradients of any model: batched, in chunks and one by one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.penalties import GeneralSASP, sasp, sasp_general
from lrscape.penalties.sasp_general import CPU_PARAMETERS


def cross_entropy(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def reference(model, batch, parameters=None):
    """Slow reference: the definition."""
    chosen = list(model.parameters()) if parameters is None else parameters
    total = 0.0
    for i in range(len(batch[1])):
        loss = cross_entropy(model, (batch[0][i : i + 1], batch[1][i : i + 1]))
        gradients = torch.autograd.grad(loss, chosen, create_graph=True)
        total = total + sum(g.square().sum() for g in gradients)
    return total / len(batch[1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


def mlp():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2).eval(), nn.Softplus(), nn.Flatten(), nn.Linear(8, 3))


MODELS = {"mlp": (mlp, (4,)), "cnn": (cnn, (1, 4, 4)), "attention": (Attention, (5, 4))}


def problem(name, size=7):
    make, shape = MODELS[name]
    return make().double(), (torch.randn(size, *shape, dtype=torch.double), torch.randint(3, (size,)))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{"method": "loop"}, {"method": "vmap"}, {"chunk_size": 3}, {}], ids=str)
def test_value_and_gradient_follow_the_definition(name, options):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model, batch = problem(name)
    with sdpa_kernel(SDPBackend.MATH):
        wanted = reference(model, batch)
        slopes = torch.autograd.grad(wanted, list(model.parameters()), materialize_grads=True)
    found = sasp_general(cross_entropy, model, batch, **options)
    torch.testing.assert_close(found, wanted)
    found.backward()
    torch.testing.assert_close([p.grad for p in model.parameters()], list(slopes))


@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_some_parameters_only(method):
    model, batch = problem("mlp")
    chosen = list(model[2].parameters())
    found = sasp_general(cross_entropy, model, batch, parameters=chosen, method=method)
    torch.testing.assert_close(found, reference(model, batch, chosen))
    torch.testing.assert_close(found, sasp(model(batch[0]), model[:2](batch[0]), batch[1]))
    model[0].requires_grad_(False)
    torch.testing.assert_close(sasp_general(cross_entropy, model, batch, method=method), found)


def test_any_structure_of_batches():
    model, (x, y) = problem("mlp")
    wanted = reference(model, (x, y))
    scale = torch.tensor(1.0)
    for method in ("loop", "vmap"):
        found = sasp_general(
            lambda model, b: F.cross_entropy(model(b["x"][0] * b["scale"]), b["y"], reduction=b["how"]),
            model,
            {"x": [x], "y": y, "scale": scale, "how": "sum"},
            method=method,
        )
        torch.testing.assert_close(found, wanted)


def test_auto_takes_the_loop_where_gradients_are_large(monkeypatch):
    from lrscape.penalties import sasp_general as package  # the function; its module is what is patched

    taken = []
    module = __import__("sys").modules[package.__module__]
    batched = module.vmap
    monkeypatch.setattr(module, "vmap", lambda *a, **k: taken.append(k["chunk_size"]) or batched(*a, **k))
    model, batch = problem("mlp")
    sasp_general(cross_entropy, model, batch)
    assert len(taken) == 1
    assert taken[0] >= 7
    large = nn.Sequential(nn.Linear(4, CPU_PARAMETERS // 4), nn.Linear(CPU_PARAMETERS // 4, 3)).double()
    sasp_general(cross_entropy, large, (batch[0][:1], batch[1][:1]))
    assert len(taken) == 1


def test_auto_takes_the_loop_for_recurrent_layers():
    model, batch = Recurrent(), (torch.randn(3, 5, 4), torch.randint(3, (3,)))
    torch.testing.assert_close(sasp_general(cross_entropy, model, batch), reference(model, batch))


def test_auto_falls_back_where_operations_cannot_be_batched():
    model, batch = problem("mlp")

    def by_sign(model, batch):
        return cross_entropy(model, batch) * (2.0 if batch[0].sum() > 0 else 1.0)

    with pytest.raises(RuntimeError, match="vmap"):
        sasp_general(by_sign, model, batch, method="vmap")
    with pytest.warns(RuntimeWarning, match='method="loop"'):
        found = sasp_general(by_sign, model, batch)
    torch.testing.assert_close(found, sasp_general(by_sign, model, batch, method="loop"))


def test_an_error_of_the_loss_is_not_taken_for_a_limit_of_batching():
    model, batch = problem("mlp")

    def broken(model, batch):
        return model(batch[0]) @ torch.zeros(99, dtype=torch.double)

    with pytest.raises(RuntimeError, match="size"):  # and no warning before it
        sasp_general(broken, model, batch)


@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_leaves_gradients_buffers_and_modes_alone(method):
    model, batch = problem("cnn")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    sasp_general(cross_entropy, model, batch, method=method)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_without_gradients_the_value_is_the_same(method):
    model, batch = problem("mlp")
    wanted = sasp_general(cross_entropy, model, batch, method=method)
    with torch.no_grad():
        found = sasp_general(cross_entropy, model, batch, method=method)
    torch.testing.assert_close(found, wanted.detach())
    assert not found.requires_grad


@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_dropout_draws_anew_for_each_example(method):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 1, bias=False))
    same = torch.ones(50, 64)
    norms = sasp_general(lambda model, x: model(x).sum(), model, same, method=method)
    # The gradient is what dropout leaves: 64 entries of 0 or 2, thus 128 in the mean. One mask for all would give a
    # multiple of 4 and be off by 16 in the standard deviation; fifty masks are off by 2.3.
    assert 128 - 5 * 2.3 < norms < 128 + 5 * 2.3
    assert norms % 4 != 0


@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_a_loss_without_the_model_is_an_error(method):
    model, batch = problem("mlp")
    other = mlp().double()
    with pytest.raises(ValueError, match="loss_fn must use the model"):
        sasp_general(lambda _, b: cross_entropy(other, b).detach(), model, batch, method=method)
    with pytest.raises(ValueError, match="loss_fn must use the model"):
        sasp_general(lambda _, b: cross_entropy(other, b), model, batch, method=method)


def test_batch_statistics_are_refused():
    model, batch = problem("cnn")
    model[1].train()
    with pytest.raises(ValueError, match="layer '1' of model"):
        sasp_general(cross_entropy, model, batch)


def test_errors_name_the_argument():
    model, batch = problem("mlp")
    for options, match in [
        ({"method": "fast"}, "method must be"),
        ({"chunk_size": 0}, "chunk_size must be"),
        ({"parameters": [torch.zeros(2)]}, "parameters must be the model's own"),
        ({"parameters": []}, "parameters that require gradients"),
    ]:
        with pytest.raises(ValueError, match=match):
            sasp_general(cross_entropy, model, batch, **options)
    with pytest.raises(ValueError, match="batch must hold"):
        sasp_general(cross_entropy, model, (batch[0], batch[1][:2]))
    with pytest.raises(ValueError, match="loss_fn must return"):
        sasp_general(lambda model, b: model(b[0]), model, batch)


def test_module():
    model, batch = problem("mlp")
    module = GeneralSASP(cross_entropy, method="vmap", chunk_size=2)
    assert torch.equal(module(model, batch), sasp_general(cross_entropy, model, batch, method="vmap", chunk_size=2))
