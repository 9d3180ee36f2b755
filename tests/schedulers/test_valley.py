"""ValleyLR: the ascent, the turn, what follows, and what the user takes away."""

import copy
import io
import warnings
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.schedulers import ValleyLR, ValleyMeasurement
from lrscape.schedulers.valley_theory import retreat


def network(seed=0, norm=True):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Linear(16, 3))


def batches(seed=0):
    stream = torch.Generator().manual_seed(seed)
    teacher = torch.randn(4, 3, generator=stream)
    while True:
        x = torch.randn(32, 4, generator=stream)
        noisy = x @ teacher + torch.randn(32, 3, generator=stream)
        yield x, noisy.argmax(1)


def fit(steps, kind="adamw", model=None, lr=1e-3, data=None, scheduler_state=None, optimizer_state=None, **options):
    model = network() if model is None else model
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    scheduler = ValleyLR(optimizer, model, **options)
    if scheduler_state is not None:
        optimizer.load_state_dict(optimizer_state)
        scheduler.load_state_dict(scheduler_state)
    data = batches() if data is None else data
    rates = []
    for _ in range(steps):
        x, y = next(data)
        scheduler.probe(lambda x=x, y=y: F.cross_entropy(model(x), y))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    return model, optimizer, scheduler, rates


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_rate_does_not_depend_on_the_users(kind):
    _, _, _, a = fit(80, kind, lr=1e-7)
    _, _, _, b = fit(80, kind, lr=12.3)
    assert a[0] == pytest.approx(1e-5, rel=1e-12)
    assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_climbs_turns_once_and_holds(kind):
    _, _, scheduler, rates = fit(200, kind)
    reasons = [decision.reason for decision in scheduler.history]
    turn = reasons.index("turn")
    assert set(reasons[:turn]) == {"ascent"}
    assert set(reasons[turn + 1 :]) <= {"hold", "brake"}
    at = scheduler.history[turn].step
    assert all(b == pytest.approx(1.2 * a) for a, b in pairwise(rates[:at]))
    assert rates[at] == pytest.approx(1.2 * rates[at - 1] / retreat())  # at once, not a step later
    assert 1e-4 < rates[-1] < 1
    assert not scheduler.climbing


def test_probes_become_rare():
    _, _, scheduler, _ = fit(600)
    turn = next(d.step for d in scheduler.history if d.reason == "turn")
    after = [d.step for d in scheduler.history if d.step > turn]
    assert len(after) <= 4 * 5
    assert len([step for step in after if step >= 300]) <= 4


def test_average_is_better_than_the_iterate_and_at_any_time():
    model, _, scheduler, _ = fit(400, "sgd", model=network(norm=False))
    fresh = batches()
    held_out = [next(fresh) for _ in range(800)][400:]  # beyond what was trained on
    x, y = (torch.cat(parts) for parts in zip(*held_out, strict=True))
    with torch.no_grad():
        iterate = F.cross_entropy(model(x), y).item()
        with scheduler.averaged() as averaged:
            assert F.cross_entropy(averaged(x), y).item() < iterate


def test_groups_keep_their_ratio():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[3].parameters(), "lr": 0.03}]
    optimizer = torch.optim.SGD(groups)
    scheduler = ValleyLR(optimizer, model)
    assert scheduler.get_last_lr() == pytest.approx([1e-5, 1e-6])
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([1.2e-5, 1.2e-6])


def test_averaged_state_dict_is_the_averaged_model():
    model, _, scheduler, _ = fit(60)
    before = copy.deepcopy(model.state_dict())
    state = scheduler.averaged_state_dict()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    twin = network()
    twin.load_state_dict(state)
    x, _ = next(batches())
    with scheduler.averaged():
        assert torch.equal(twin.eval()(x), model.eval()(x))


def test_probe_leaves_batch_norm_alone():
    model, _, scheduler, _ = fit(30)
    x, y = next(batches())
    model.train()
    before = copy.deepcopy(model.state_dict())
    scheduler.measure(lambda: F.cross_entropy(model(x), y))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize("half", [20, 60, 90])
def test_resumes_bit_for_bit(half):
    whole, _, scheduler, rates = fit(100)
    data = batches()
    model, optimizer, first, early = fit(half, data=data)
    buffer = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), first.state_dict()], buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    twin = network(seed=5)
    twin.load_state_dict(saved[0])
    _, _, second, late = fit(100 - half, model=twin, data=data, optimizer_state=saved[1], scheduler_state=saved[2])
    assert early + late == rates
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), twin.parameters(), strict=True))
    for a, b in zip(scheduler.averaged_state_dict().values(), second.averaged_state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_scheduler_is_refused():
    model = network()
    scheduler = ValleyLR(torch.optim.SGD(model.parameters(), lr=0.1), model)
    with pytest.raises(ValueError, match="average missing"):
        scheduler.load_state_dict({"factors": [1.0], "rates": {}})


def test_final_decay_reaches_zero_and_the_average_the_iterate():
    model, _, scheduler, rates = fit(150, total_steps=150)
    flat = rates[119]
    for step in range(121, 150):
        assert rates[step] == pytest.approx(flat * (150 - step) / 30, rel=1e-9)
    with scheduler.averaged():
        averaged = [p.detach().clone() for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(averaged, model.parameters(), strict=True))


def observe(scheduler, optimizer, loss, height):
    optimizer.step()
    scheduler.step()
    return scheduler.observe(ValleyMeasurement(loss, loss - height, height)).reason


def turn(scheduler, optimizer, loss):
    for _ in range(5):
        observe(scheduler, optimizer, loss, -0.1)
    for _ in range(3):
        if scheduler.climbing:
            observe(scheduler, optimizer, loss, 0.5)
    assert scheduler.history[-1].reason == "turn"


def steered(**options):
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return model, optimizer, ValleyLR(optimizer, model, **options)


def test_rounding_does_not_turn_the_ascent():
    _, optimizer, scheduler = steered(start=1e-9)
    for sign in (1, -1, 1, 1, 1, 1, -1, 1, 1):
        assert observe(scheduler, optimizer, 2.0, sign * 1e-7) == "ascent"
    assert observe(scheduler, optimizer, 2.0, 1e-3) == "turn"


@pytest.mark.parametrize("rewind", [False, True])
def test_ascent_that_destroys_a_good_start_is_stopped(rewind):
    model, optimizer, scheduler = steered(start=1e-2, rewind=rewind)
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(6):
        assert observe(scheduler, optimizer, 0.1, -1e-3) == "ascent"
    reason = "ascent"
    for _ in range(6):
        if reason == "ascent":
            reason = observe(scheduler, optimizer, 0.5, -1e-3)
    assert reason == "brake"
    rate = scheduler.get_last_lr()
    scheduler.step()
    returned = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert returned == rewind
    assert scheduler.get_last_lr() == rate
    assert "start_weights" not in scheduler.state_dict()
    assert not scheduler.climbing


def test_brake_after_the_turn_compares_twice():
    _, optimizer, scheduler = steered()
    turn(scheduler, optimizer, 1.0)
    before = scheduler.factors[0]
    assert observe(scheduler, optimizer, 1.5, 1.0) == "hold"  # below twice the average of past losses
    assert observe(scheduler, optimizer, 4.0, 0.1) == "hold"  # a hard batch: the average finds it hard as well
    assert scheduler.factors[0] == before
    assert observe(scheduler, optimizer, 9.0, 7.0) == "brake"
    assert scheduler.factors[0] == pytest.approx(0.8 * before)


def test_negative_losses_do_not_brake():
    _, optimizer, scheduler = steered()
    turn(scheduler, optimizer, -3.0)
    assert observe(scheduler, optimizer, -2.9, 0.05) == "hold"


def test_loss_that_is_not_finite_ends_the_ascent():
    _, optimizer, scheduler = steered()
    observe(scheduler, optimizer, 1.0, -0.1)
    rate = scheduler.get_last_lr()[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert observe(scheduler, optimizer, float("nan"), float("nan")) == "non-finite"
    assert len(caught) == 1
    assert not scheduler.climbing
    assert scheduler.get_last_lr()[0] == pytest.approx(rate * 1.2 / retreat() * 0.8)


@pytest.mark.filterwarnings("ignore")  # gradient scaling on CPU warns in some versions of torch
def test_mixed_precision_climbs_and_turns():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    scheduler = ValleyLR(optimizer, model)
    data = batches()

    def loss():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(model(x), y)

    for _ in range(120):
        x, y = next(data)
        scheduler.probe(loss)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        scheduler.step()
    assert not scheduler.climbing
    assert 1e-4 < scheduler.get_last_lr()[0] < 1
    assert all(value.dtype == torch.float32 for value in scheduler.averaged_state_dict().values() if value.dim())


@pytest.mark.parametrize(("options", "word"), [
    ({"start": 0.0}, "start"), ({"growth": 1.0}, "growth"), ({"alpha": 0.0}, "alpha"), ({"brake": 1.0}, "brake"),
    ({"total_steps": 0}, "total_steps"), ({"decay": 0.0}, "decay"), ({"batch_norm": "none"}, "batch_norm"),
])  # fmt: skip
def test_options_out_of_range_are_refused(options, word):
    model = network()
    with pytest.raises(ValueError, match=word):
        ValleyLR(torch.optim.SGD(model.parameters(), lr=0.1), model, **options)


def test_rates_that_are_all_zero_are_refused():
    model = network()
    with pytest.raises(ValueError, match="positive learning rate"):
        ValleyLR(torch.optim.SGD(model.parameters(), lr=0.0), model)
