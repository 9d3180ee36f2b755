"""Whatever a forward pass keeps can be computed with after a probe, also where points share a pass under vmap."""

import copy
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.landscape import Objective, evaluate, grid, random_directions
from lrscape.landscape.engines import Job
from lrscape.landscape.parameters import movable
from lrscape.landscape.trial import candidates
from lrscape.schedulers import TopoLR

X, Y = torch.randn(16, 4), torch.randint(3, (16,))


@dataclass
class Cache:
    """An object that a model keeps."""

    value: object = 0


class Keeper(nn.Module):
    """Keeps what its layer gives, in a way of its own."""

    def __init__(self, keep):
        super().__init__()
        self.layer, self.keep = nn.Linear(4, 3), keep
        self.scale, self.last, self.outputs = torch.ones(()), None, []
        self.named, self.recent, self.cache = defaultdict(list), deque(maxlen=3), Cache()

    def forward(self, x):
        y = self.layer(x)
        self.keep(self, y)
        return y / self.scale


def running(model, y):
    model.scale = 0.9 * model.scale + 0.1 * y.detach().abs().mean()


def pair(model, y):
    model.last = (y.detach(), y.softmax(-1))


def new_object(model, y):
    model.cache = Cache(y)


def new_attribute(model, y):
    model.made_in_forward = y


def in_object(model, y):
    model.cache.value = [y]


def listed(model, y):
    model.outputs.append(y)


def named(model, y):
    model.named["y"].append(y)


def recent(model, y):
    model.recent.append({"y": y})


def then_fails(model, y):
    model.last = y
    y.sum().item()


KEEPS = [running, pair, new_object, new_attribute, in_object, listed, named, recent, then_fails]


def kept(value, depth=6):
    """List all tensors that can be reached."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, nn.Module | Cache):
        value = vars(value)
    values = value.values() if isinstance(value, dict) else value
    if depth == 0 or not isinstance(value, dict | list | tuple | deque):
        return []
    return [tensor for held in values for tensor in kept(held, depth - 1)]


def alive(*things):
    tensors = [tensor for thing in things for tensor in kept(thing)]
    return bool(tensors) and not any(torch._C._functorch.is_batchedtensor(tensor) for tensor in tensors)


@pytest.mark.parametrize("engine", ["auto", "batched"])
@pytest.mark.parametrize("keep", KEEPS)
def test_a_model_may_keep_tensors(keep, engine):
    model = Keeper(keep)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = TopoLR(optimizer, model, interval=1, warmup=0, engine=engine)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
        scheduler.probe(lambda: F.cross_entropy(model(X), Y))
        scheduler.step()
    assert alive(model)
    found = evaluate(model, lambda: F.cross_entropy(model(X), Y), random_directions(model, 2), grid(3), engine=engine)
    assert found.provenance["engine"] == "inplace"


def test_a_copy_can_be_made_after_a_probe():
    model = Keeper(lambda model, y: setattr(model, "last", y.detach()))
    loss = Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), [(X, Y)])
    evaluate(model, loss, random_directions(model, 2), grid(3))
    assert torch.equal(copy.deepcopy(model).last, model.last)


class Bound:
    """Has a loss that is a method and keeps what it computes."""

    def __init__(self, model):
        self.model, self.losses, self.last = model, [], None

    def loss(self, *_):
        self.last = F.cross_entropy(self.model(X), Y)
        self.losses.append(self.last.detach())
        return self.last


def closing_over_a_list(model):
    losses = []

    def loss(*_):
        losses.append(F.cross_entropy(model(X), Y))
        return losses[-1]

    return loss, lambda: losses


def naming_a_variable(model):
    last = None

    def inner():
        nonlocal last
        last = F.cross_entropy(model(X), Y)
        return last

    return lambda *_: inner(), lambda: [last]


def naming_a_global(model):
    def loss(*_):
        global LAST
        LAST = F.cross_entropy(model(X), Y)
        return LAST

    return loss, lambda: [LAST]


def with_a_default(model):
    def loss(*_, losses=deque()):  # noqa: B006  as scripts do
        losses.append(F.cross_entropy(model(X), Y))
        return losses[-1]

    return loss, lambda: loss.__kwdefaults__["losses"]


def with_an_argument(model):
    losses = {}

    def loss(losses, *_):
        losses["last"] = F.cross_entropy(model(X), Y)
        return losses["last"]

    return partial(loss, losses), lambda: losses


def bound_to_an_object(model):
    owner = Bound(model)
    return owner.loss, lambda: vars(owner)


def with_a_criterion(model):
    class Criterion(nn.Module):
        def forward(self, output):
            self.last = F.cross_entropy(output, Y)
            return self.last

    criterion = Criterion()
    return lambda *_: criterion(model(X)), lambda: criterion


CLOSURES = [
    closing_over_a_list, naming_a_variable, naming_a_global, with_a_default, with_an_argument, bound_to_an_object,
    with_a_criterion,
]  # fmt: skip


@pytest.mark.parametrize("engine", ["auto", "batched"])
@pytest.mark.parametrize("objective", [False, True])
@pytest.mark.parametrize("make", CLOSURES)
def test_a_loss_may_keep_tensors(make, objective, engine):
    model = nn.Linear(4, 3)
    loss, things = make(model)
    what = Objective(loss, [(X, Y)]) if objective else loss
    found = evaluate(model, what, random_directions(model, 2), grid(3), engine=engine)
    assert found.provenance["engine"] == "inplace"
    assert alive(things())


@pytest.mark.parametrize("engine", ["auto", "batched"])
def test_a_hook_may_keep_tensors(engine):
    model, outputs = nn.Sequential(nn.Linear(4, 3)), []
    model[0].register_forward_hook(lambda module, given, output: outputs.append(output.detach()))
    found = evaluate(model, lambda: F.cross_entropy(model(X), Y), random_directions(model, 2), grid(3), engine=engine)
    assert found.provenance["engine"] == "inplace"
    assert alive(outputs)
    assert len(outputs) == 9


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_auto_moves_a_model_with_hooks_in_place(register):
    model, seen = nn.Sequential(nn.Linear(4, 3)), []
    loss = Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), [(X, Y)])
    directions = random_directions(model, 2)
    assert evaluate(model, loss, directions, grid(3)).provenance["engine"] == "batched"
    everywhere = getattr(nn.modules.module, register.replace("forward", "module_forward"))
    for place in (getattr(model[0], register), everywhere):
        hook = place(lambda *given: seen.append(given))
        assert evaluate(model, loss, directions, grid(3)).provenance["engine"] == "inplace"
        assert "batched" not in candidates(Job(model, loss, movable(model), directions))
        hook.remove()
    assert len(seen) == 9 + 18  # one module's calls, then those of both


def test_what_keeps_nothing_is_evaluated_as_ever(monkeypatch):
    """Counters, inputs and old outputs are no reason for another engine, and nothing is put back."""

    def keep(model, y):
        model.cache.value += 1
        model.outputs.append(len(y))
        model.last = X

    model, losses = Keeper(keep), [torch.ones(())]
    directions = random_directions(model, 2)

    def closure():
        losses.append(1.0)
        return F.cross_entropy(model(X), Y)

    found = evaluate(model, closure, directions, grid(5))
    assert found.provenance["engine"] == "batched"
    assert (model.cache.value, model.outputs, model.last is X, len(losses)) == (1, [16], True, 2)
    monkeypatch.setattr("lrscape.landscape.escapes._Search.look", lambda *_: None)
    np.testing.assert_array_equal(evaluate(model, closure, directions, grid(5)).losses, found.losses)
