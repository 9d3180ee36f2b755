import os
import random
import signal
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from disturbed import OUTCOMES, Disturbed, mixed_modes
from examples import loss_of
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.landscape import Objective, evaluate, grid, line, random_directions


def raw(tensor):
    return tensor.detach().reshape(-1).view(torch.uint8)


class Snapshot:
    """Everything that must be bitwise the same after a probe."""

    def __init__(self, model):
        self.model = model
        self.tensors = [(n, t, t.detach().clone(), t.data_ptr(), t._version) for n, t in self._named(model)]
        self.gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
        self.modes = [m.training for m in model.modules()]
        self.flags = [vars(m).get("track_running_stats") for m in model.modules()]
        self.random = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
        self.handler = signal.getsignal(signal.SIGINT)

    @staticmethod
    def _named(model):
        return [*model.named_parameters(), *model.named_buffers()]

    def check(self):
        now = dict(self._named(self.model))
        for name, tensor, value, pointer, version in self.tensors:
            assert now[name] is tensor
            assert tensor.data_ptr() == pointer, name
            assert tensor._version == version, name
            assert tensor.stride() == value.stride(), name
            assert torch.equal(raw(tensor), raw(value)), name
        for parameter, gradient, value in self.gradients:
            assert parameter.grad is gradient
            assert gradient is None or torch.equal(gradient, value)
        assert self.modes == [m.training for m in self.model.modules()]
        assert self.flags == [vars(m).get("track_running_stats") for m in self.model.modules()]
        assert random.getstate() == self.random[0]
        assert np.array_equal(np.random.get_state()[1], self.random[1])
        assert torch.equal(torch.get_rng_state(), self.random[2])
        assert signal.getsignal(signal.SIGINT) is self.handler
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("engine", ["inplace", "batched"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nothing_changes(example, engine, outcome):
    model, batch = example
    mixed_modes(model)
    kept = Snapshot(model)
    closure = Disturbed(lambda: loss_of(model, batch), outcome, 3 if engine == "inplace" else 1)
    directions = random_directions(model, 2, bias="match")
    with closure.ending():
        found = evaluate(model, closure, directions, grid(3, 0.5), engine=engine)
    if outcome == "success":
        assert len(np.unique(found.losses)) > 1
    kept.check()


@pytest.mark.parametrize("engine", ["inplace", "batched"])
@pytest.mark.parametrize("policy", ["eval", "batch", "recalibrate"])
@pytest.mark.parametrize("dropout", [False, True])
def test_policies_leave_no_trace(example, engine, policy, dropout):
    model, batch = example
    mixed_modes(model)
    kept = Snapshot(model)
    directions = random_directions(model, 1, bias="match")
    evaluate(model, lambda: loss_of(model, batch), directions, line(3), engine=engine, batch_norm=policy,
             dropout=dropout)  # fmt: skip
    kept.check()


@pytest.mark.parametrize("engine", ["inplace", "batched"])
def test_a_pending_backward_still_works_and_training_goes_on_alike(example, engine):
    model, batch = example
    model.eval()
    loss = loss_of(model, batch)
    expected = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], retain_graph=True)
    evaluate(model, lambda: loss_of(model, batch), random_directions(model, 1, bias="match"), line(3), engine=engine)
    found = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    loss_of(model, batch).backward()  # what modules cached during the probe must not break training


def test_loader_order_is_what_it_would_have_been():
    data = TensorDataset(torch.arange(20.0).reshape(20, 1), torch.zeros(20, dtype=torch.long))

    def order(probe):
        loader = DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(5))
        model = nn.Linear(1, 2)
        if probe:
            objective = Objective(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), loader)
            evaluate(model, objective, random_directions(model), grid(3))
        return [batch[0].ravel().tolist() for batch in loader]

    assert order(False) == order(True)


def test_autocast_casts_are_neither_stale_nor_left_behind():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(16, 4), torch.randint(3, (16,))

    def closure():
        return F.cross_entropy(model(x).float(), y)

    directions = random_directions(model, 1)
    with torch.autocast("cpu", torch.bfloat16):
        closure()  # fills the cache
        moved = evaluate(model, closure, directions, line(3), engine="inplace").losses
        assert len(np.unique(moved)) == 3
        closure().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_signal_of_the_users_own_handler_comes_after_the_weights_are_back():
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone()
    seen = []

    def handler(signum, frame):
        seen.append(torch.equal(model.weight, before))

    def closure():
        os.kill(os.getpid(), signal.SIGINT)
        assert not seen
        return model.weight.sum()

    old = signal.signal(signal.SIGINT, handler)
    try:
        evaluate(model, closure, random_directions(model, 1), line(3), engine="inplace")
    finally:
        signal.signal(signal.SIGINT, old)
    assert seen == [True]


def test_works_outside_the_main_thread():
    model = nn.Linear(3, 3)
    found = []

    def work():
        found.append(evaluate(model, lambda: model.weight.sum(), random_directions(model, 1), line(3)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found) == 1


def test_a_cache_made_in_a_probe_does_not_break_training():
    class Caching(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(3, 3)
            self.mask = None

        def forward(self, x):
            if self.mask is None:
                self.mask = torch.ones(3) * 2
            return self.body(x) * self.mask

    model = Caching()
    x = torch.randn(4, 3)
    evaluate(model, lambda: model(x).sum(), random_directions(model, 1), line(3), engine="inplace")
    model(x).sum().backward()
    assert model.body.weight.grad is not None
