"""The mixin steers any optimizer and leaves it one of torch's for everybody else."""

import copy
import gc
import io
import pickle
import weakref
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lrscape.optim import Steered
from lrscape.schedulers import LandscapeLR, TopoLR

FACTORS = [0.5, 0.9, 0.25, 0.7, 0.6, 0.35]


@dataclass(frozen=True)
class Scripted:
    factor: float


class ScriptedLR(LandscapeLR):
    """Takes its factors from a list."""

    def __init__(self, optimizer, **options):
        self.count = 0
        super().__init__(optimizer, **options)

    def measure(self, closure):
        closure()
        self.count += 1
        return Scripted(FACTORS[(self.count - 1) % len(FACTORS)])

    def decide(self, measurement):
        self.assign(measurement.factor)
        return "script"


def steered(kind):
    class SteeredOptimizer(Steered, kind):
        def __init__(self, params, model, *, interval=3, warmup=2, **options):
            super().__init__(params, **options)
            self.steer(model, lambda groups: ScriptedLR(groups, interval=interval, warmup=warmup))

    return SteeredOptimizer


class ScriptedAdamW(Steered, torch.optim.AdamW):  # at the top of the module, so that pickle finds it
    def __init__(self, params, model, **options):
        super().__init__(params, **options)
        self.steer(model, lambda groups: ScriptedLR(groups, interval=3, warmup=2))


def make_model():
    stream = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)
    return model


def loss_of(model):
    x = torch.linspace(-1, 1, 48).reshape(16, 3)
    return ((model(x) - x.sin().sum(1, keepdim=True)) ** 2).mean()


def train(model, optimizer, steps, outer=None):
    """Return the plain rate and the factor that each step took."""
    taken = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        taken.append((float(optimizer.param_groups[0]["lr"]), optimizer.factors[0]))
        optimizer.step()
        optimizer.probe(lambda: loss_of(model))
        if outer is not None:
            outer.step()
    return taken


KINDS = [
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {"foreach": False}),
    (torch.optim.RMSprop, {}),
    (torch.optim.Adagrad, {}),
    (torch.optim.NAdam, {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_step_takes_the_outer_rate_times_the_factor(kind, options):
    model, twin = make_model(), make_model()
    optimizer = steered(kind)(model.parameters(), model, lr=0.05, **options)
    outer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    plain = kind(twin.parameters(), lr=0.05, **options)
    clean = torch.optim.SGD([torch.zeros(1)], lr=0.05)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(clean, 20)
    applied = 1.0
    for t in range(1, 19):
        plain.zero_grad()
        loss_of(twin).backward()
        plain.param_groups[0]["lr"] = clean.param_groups[0]["lr"] * applied
        plain.step()
        clean.step()
        cosine.step()
        if t > 2 and t % 3 == 0:
            applied = FACTORS[(t // 3 - 1) % 6]
    taken = train(model, optimizer, 18, outer)
    assert [factor for _, factor in taken] == [1.0] * 3 + [f for f in FACTORS for _ in range(3)][:15]
    assert optimizer.param_groups[0]["lr"] == clean.param_groups[0]["lr"]
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("first", [False, True])
def test_hooks_run_once_and_see_plain_rates(first):
    if first:
        torch.optim.SGD([torch.zeros(1)], lr=1.0)  # torch now has patched the step of the class itself
    model = make_model()
    optimizer = steered(torch.optim.SGD)(model.parameters(), model, lr=0.05)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(("before", optimizer.param_groups[0]["lr"])))
    optimizer.register_step_post_hook(lambda *_: seen.append(("after", optimizer.param_groups[0]["lr"])))
    train(model, optimizer, 4)
    assert seen == [("before", 0.05), ("after", 0.05)] * 4
    assert optimizer.factors == [0.5]


def test_a_landscape_scheduler_on_top_counts_every_step_once():
    model = make_model()
    optimizer = steered(torch.optim.SGD)(model.parameters(), model, lr=0.05)
    outer = TopoLR(optimizer, model, interval=2, warmup=1)
    due = []
    for t in range(1, 9):
        loss_of(model).backward()
        optimizer.step()
        if outer.due():
            due.append(t)
        outer.step()
    assert due == [2, 4, 6, 8]


def test_closures_reach_the_optimizer():
    model = make_model()
    optimizer = steered(torch.optim.LBFGS)(model.parameters(), model, lr=0.5, max_iter=3)
    rates = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        return loss

    first = optimizer.step(closure)
    assert torch.is_tensor(first)
    for _ in range(3):
        last = optimizer.step(closure)
        optimizer.probe(lambda: loss_of(model))
    assert last < first
    assert set(rates) == {0.5, 0.25}  # 0.5 · 0.5 in the step after the probe
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_closure_that_raises_leaves_plain_rates():
    model = make_model()
    optimizer = steered(torch.optim.SGD)(model.parameters(), model, lr=0.05)
    train(model, optimizer, 3)

    def raises():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(raises)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_tensor_rates_stay_the_same_tensor():
    model = make_model()
    rate = torch.tensor(0.05)
    optimizer = steered(torch.optim.AdamW)(model.parameters(), model, lr=rate, foreach=False)
    outer = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    taken = train(model, optimizer, 5, outer)
    assert optimizer.param_groups[0]["lr"] is rate
    assert taken == [(pytest.approx(0.05 * 0.5**t), 1.0 if t < 3 else 0.5) for t in range(5)]
    assert optimizer.history[0].rates == pytest.approx([0.05 * 0.5**2 * 0.5])


def test_groups_hold_what_torchs_do():
    model = make_model()
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    train(model, optimizer, 7)
    assert optimizer.param_groups[0].keys() == torch.optim.AdamW(model.parameters()).param_groups[0].keys()
    assert optimizer.defaults == torch.optim.AdamW(model.parameters(), lr=0.05).defaults


def test_added_groups_are_steered():
    model, extra = make_model(), nn.Parameter(torch.ones(2))
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    train(model, optimizer, 3)
    optimizer.add_param_group({"params": [extra], "lr": 0.01})
    assert optimizer.factors == [0.5, 0.5]
    before = extra.detach().clone()
    extra.grad = torch.ones(2)
    optimizer.step()
    assert torch.allclose(before - extra, torch.full((2,), 0.01 * 0.5 * (1 + 0.01)), rtol=1e-4)
    train(model, optimizer, 2)
    assert optimizer.factors == [0.9, 0.9]
    assert optimizer.history[-1].rates == pytest.approx([0.045, 0.009])


def test_a_saved_run_continues_bitwise():
    whole, half = make_model(), make_model()
    expected = train(whole, ScriptedAdamW(whole.parameters(), whole, lr=0.05), 14)
    optimizer = ScriptedAdamW(half.parameters(), half, lr=0.05)
    train(half, optimizer, 7)
    file = io.BytesIO()
    torch.save([half.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed = make_model()
    resumed.load_state_dict(weights)
    optimizer = ScriptedAdamW(resumed.parameters(), resumed, lr=0.05)
    optimizer.load_state_dict(state)
    assert train(resumed, optimizer, 7) == expected[7:]
    assert [decision.step for decision in optimizer.history] == [3, 6, 9, 12]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_states_go_to_and_from_the_plain_class():
    model = make_model()
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    train(model, optimizer, 4)
    plain = torch.optim.AdamW(model.parameters())
    plain.load_state_dict(optimizer.state_dict())
    assert plain.param_groups[0]["lr"] == 0.05
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.factors == [0.5]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_go_on_by_themselves(duplicate):
    model = make_model()
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    train(model, optimizer, 5)
    twin_model, twin = duplicate((model, optimizer))
    assert twin.param_groups[0]["params"][0] is twin_model[0].weight
    assert twin.controller is not optimizer.controller
    assert train(twin_model, twin, 6) == train(model, optimizer, 6)
    for a, b in zip(model.parameters(), twin_model.parameters(), strict=True):
        assert torch.equal(a, b)
    alone = duplicate(optimizer)
    assert alone.factors == optimizer.factors


def test_grad_scaler_drives_it():
    model = make_model()
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    counted = []
    for _ in range(100):
        optimizer.zero_grad()
        scaler.scale(100 * loss_of(model)).backward()
        scaler.step(optimizer)
        scaler.update()
        counted.append(optimizer.controller._steps)
    assert counted[0] == 0  # a step that was skipped is none
    assert counted[-1] > 0
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_nothing_keeps_it_alive():
    model = make_model()
    optimizer = ScriptedAdamW(model.parameters(), model, lr=0.05)
    train(model, optimizer, 4)
    watch = weakref.ref(optimizer)
    gc.collect()
    gc.disable()
    try:
        del optimizer
        assert watch() is None
    finally:
        gc.enable()


def test_a_schedule_free_class_is_not_probed_at_its_average():
    schedulefree = pytest.importorskip("schedulefree", reason="the package schedulefree is not installed")
    model = make_model()
    optimizer = steered(schedulefree.AdamWScheduleFree)(model.parameters(), model, interval=1, warmup=0, lr=0.01)
    optimizer.train()
    model(torch.ones(5, 3)).square().mean().backward()
    optimizer.step()
    optimizer.eval()
    with pytest.raises(ValueError, match=r"is in eval mode.*call optimizer.train\(\) before probe"):
        optimizer.probe(lambda: torch.tensor(1.0))
    assert len(optimizer.history) == 0
    optimizer.train()
    assert optimizer.probe(lambda: torch.tensor(1.0)) is optimizer.history[0]  # the turn was not lost


def test_make_must_give_a_landscape_scheduler():
    class Wrong(Steered, torch.optim.SGD):
        def __init__(self, model):
            super().__init__(model.parameters(), lr=0.1)
            self.steer(model, lambda groups: torch.optim.lr_scheduler.ExponentialLR(groups, 0.9))

    with pytest.raises(TypeError, match="make must construct a LandscapeLR"):
        Wrong(make_model())
