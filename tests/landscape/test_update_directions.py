import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from lrscape.landscape import update_direction

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "maximize": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01, dtype=torch.float64), weight_decay=0.3),
    "adamw_maximize": lambda p: torch.optim.AdamW(p, lr=0.01, maximize=True, foreach=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
}
REMEMBERED = ["momentum", "maximize", "adam", "amsgrad", "adamw", "adamw_maximize"]


def trained(name, steps=3):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    unused = nn.Linear(2, 2).double()
    model.add_module("unused", unused)
    optimizer = OPTIMIZERS[name](model.parameters())
    data = [(torch.randn(6, 4).double(), torch.randint(3, (6,))) for _ in range(steps + 1)]

    def backward(i):
        optimizer.zero_grad()
        F.cross_entropy(model[2](model[1](model[0](data[i][0]))), data[i][1]).backward()

    for i in range(steps):
        backward(i)
        optimizer.step()
    backward(steps)
    return model, optimizer


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def state_of(optimizer):
    return copy.deepcopy(optimizer.state_dict())


def equal_states(a, b):
    flat_a, flat_b = torch.utils._pytree.tree_leaves(a), torch.utils._pytree.tree_leaves(b)
    return len(flat_a) == len(flat_b) and all(
        torch.equal(x, y) if torch.is_tensor(x) else x == y for x, y in zip(flat_a, flat_b, strict=True)
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_next_step_is_the_one_that_step_then_takes(name, steps):
    model, optimizer = trained(name, steps)
    before, kept = values(model), state_of(optimizer)
    gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    found = update_direction(optimizer, model)
    assert equal_states(kept, optimizer.state_dict())
    assert all(p.grad is g and (g is None or torch.equal(g, v)) for p, g, v in gradients)
    assert all(torch.equal(value, before[n]) for n, value in values(model).items())
    optimizer.step()
    for n, value in values(model).items():
        torch.testing.assert_close(found.tensors[n][0], value - before[n], rtol=0, atol=0)


@pytest.mark.parametrize("name", REMEMBERED)
def test_last_step_is_the_one_that_was_taken(name):
    model, optimizer = trained(name)
    before = values(model)
    optimizer.step()
    optimizer.zero_grad()
    after = values(model)
    found = update_direction(optimizer, model, step="last")
    for n, value in after.items():
        torch.testing.assert_close(found.tensors[n][0], value - before[n], rtol=1e-9, atol=1e-15)


def test_last_step_by_the_published_formula():
    model = nn.Linear(3, 1, bias=False).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-3)
    m, v = np.zeros(3), np.zeros(3)
    for t in range(1, 4):
        g = np.random.default_rng(t).normal(size=3)
        model.weight.grad = torch.tensor(g)[None]
        optimizer.step()
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        step = -0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        found = update_direction(optimizer, model, step="last").tensors["weight"].numpy().ravel()
        np.testing.assert_allclose(found, step, rtol=1e-12)


def test_schedulers_and_hooks_do_not_see_the_step():
    model, optimizer = trained("adam")
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    handle = register_optimizer_step_post_hook(lambda *_: calls.append("global"))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    before, step = values(model), optimizer.step
    try:
        update_direction(optimizer, model)
    finally:
        handle.remove()
    assert calls == []
    assert optimizer.step == step
    assert all(torch.equal(value, before[n]) for n, value in values(model).items())
    assert scheduler.last_epoch == 0


def test_parameter_groups_and_parts_of_the_model():
    model, _ = trained("sgd")
    optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 1.0}, {"params": model[2].weight}], lr=0.5)
    found = update_direction(optimizer, model)
    assert set(found.tensors) == {"0.weight", "0.bias", "2.weight"}
    torch.testing.assert_close(found.tensors["0.bias"][0], -model[0].bias.grad, rtol=1e-12, atol=1e-16)
    torch.testing.assert_close(found.tensors["2.weight"][0], -0.5 * model[2].weight.grad, rtol=1e-12, atol=1e-16)
    assert set(found.left_out) == {"2.bias", "unused.weight", "unused.bias"}
    assert set(update_direction(optimizer, model, parameters=["2"]).tensors) == {"2.weight"}


def test_random_state_and_half_precision():
    class Noisy(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(torch.randn_like(p))

    model = nn.Linear(3, 2).bfloat16()
    model.weight.grad = torch.ones_like(model.weight)
    state = torch.get_rng_state()
    found = update_direction(Noisy(model.parameters(), lr=0.1), model)
    assert torch.equal(state, torch.get_rng_state())
    assert found.tensors["weight"].dtype == torch.float32


def test_what_has_no_step_is_refused():
    model, optimizer = trained("sgd")
    with pytest.raises(ValueError, match="SGD without momentum or with Nesterov"):
        update_direction(optimizer, model, step="last")
    with pytest.raises(ValueError, match="not for RMSprop"):
        update_direction(torch.optim.RMSprop(model.parameters()), model, step="last")
    with pytest.raises(ValueError, match="it has not taken any yet"):
        update_direction(torch.optim.Adam(model.parameters()), model, step="last")
    with pytest.raises(ValueError, match="holds no parameter of this Linear"):
        update_direction(optimizer, nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"LBFGS.step needs a closure"):
        update_direction(torch.optim.LBFGS(model.parameters()), model)
    with pytest.raises(ValueError, match="step must be 'next' or 'last', got 'first'"):
        update_direction(optimizer, model, step="first")
    with pytest.raises(TypeError, match="got list"):
        update_direction([], model)
    optimizer.zero_grad()
    with pytest.raises(ValueError, match=r"between backward\(\) and zero_grad\(\)"):
        update_direction(optimizer, model)
