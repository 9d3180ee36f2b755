"""HomotopyAdam is Adam with rates below its edge, or with the published rule."""

import copy

import pytest
import torch
import torch.nn.functional as F
from steered_runs import problem, train
from torch.optim.lr_scheduler import CosineAnnealingLR
from traces import state

from lrscape.landscape import kappa, preconditioned_sharpness
from lrscape.optim import HomotopyAdam


def test_rates_are_at_the_margin_of_its_own_edge():
    model, x, y = problem(torch.float64)
    groups = [{"params": model[0].parameters()}, {"params": [*model[1:].parameters()], "lr": 25.0}]
    optimizer = HomotopyAdam(groups, model, lr=100.0, interval=5, homotopy={"tolerance": 1e-9, "max_hvps": 60})
    optimizer.probe(lambda: F.cross_entropy(model(x), y))  # or the first step would be one of 100
    train(model, optimizer, x, y, 10)
    found = preconditioned_sharpness(
        model, lambda: F.cross_entropy(model(x), y), optimizer, tolerance=1e-9, max_hvps=60, batch_norm="batch"
    )
    decision = optimizer.history[-1]
    assert (decision.step, decision.reason) == (10, "edge")
    assert decision.measurement["sharpness"] == pytest.approx(found.sharpness, rel=1e-9)
    s = optimizer.controller._sharpness
    assert decision.rates == pytest.approx([0.25 * 38 / s, 0.25 * 0.25 * 38 / s], rel=1e-9)
    assert [group["lr"] for group in optimizer.param_groups] == [100.0, 25.0]
    assert [d.step for d in optimizer.history] == [0, 1, 5, 10]  # dense at the beginning


def test_it_is_adam_below_the_edge():
    model, x, y = problem(torch.float64)
    twin, _, _ = problem(torch.float64)
    optimizer = HomotopyAdam(model.parameters(), model, lr=1e-4, betas=(0.8, 0.9), amsgrad=True)
    plain = torch.optim.Adam(twin.parameters(), lr=1e-4, betas=(0.8, 0.9), amsgrad=True)
    assert isinstance(optimizer, torch.optim.Adam)
    train(model, optimizer, x, y, 30)
    for _ in range(30):
        plain.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        plain.step()
    assert {decision.reason for decision in optimizer.history} == {"free"}
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_an_outer_schedule_and_the_limit_take_the_smaller_rate():
    model, x, y = problem(torch.float64)
    optimizer = HomotopyAdam(model.parameters(), model, lr=50.0)
    outer = CosineAnnealingLR(optimizer, 40)
    optimizer.probe(lambda: F.cross_entropy(model(x), y))
    limit = optimizer.controller.largest_rates[0]
    assert limit < 50.0
    for _ in range(40):
        optimizer.step()
        outer.step()
        plain = optimizer.param_groups[0]["lr"]
        taken = plain * optimizer.factors[0]
        assert taken == pytest.approx(min(plain, limit), rel=1e-9)
    assert plain == pytest.approx(0.0, abs=1e-12)


def test_published_rule():
    model, x, y = problem(torch.float64)
    optimizer = HomotopyAdam(model.parameters(), model, lr=1e-3, criterion="kappa", target=5.0)
    expected = [1e-3]
    for t in range(6):
        train(model, optimizer, x, y, 1)
        value = kappa(model, lambda: F.cross_entropy(model(x), y), seed=(0, t), batch_norm="batch").kappa
        expected.append(1e-3 / (1 + value / 5.0))
        assert optimizer.history[-1].rates == pytest.approx([expected[-1]], rel=1e-9)
    assert train(model, optimizer, x, y, 1) == [pytest.approx([expected[-1]], rel=1e-9)]
    assert HomotopyAdam(model.parameters(), model, criterion="kappa").controller.target == 1e4


def test_a_probe_changes_nothing_but_the_factor():
    model, x, y = problem(torch.float64)
    optimizer = HomotopyAdam(model.parameters(), model, interval=1)
    train(model, optimizer, x, y, 2)
    before, own = state(model), copy.deepcopy(optimizer.state_dict()["state"])
    seen = len(optimizer.history)
    optimizer._controller._asked = -1  # let it measure once more
    optimizer.probe(lambda: F.cross_entropy(model(x), y))
    assert len(optimizer.history) == seen + 1
    assert state(model) == before
    after = optimizer.state_dict()["state"]
    for number, entries in own.items():
        assert all(torch.equal(value, after[number][name]) for name, value in entries.items())
    assert optimizer.controller._stand_in is None


def test_state_resumes_bitwise_and_copies_go_on_alike():
    options = {"lr": 1.0, "interval": 3}
    model, x, y = problem(torch.float64)
    expected = train(model, HomotopyAdam(model.parameters(), model, **options), x, y, 14)
    half, _, _ = problem(torch.float64)
    optimizer = HomotopyAdam(half.parameters(), half, **options)
    train(half, optimizer, x, y, 7)
    twin, other = copy.deepcopy((half, optimizer))  # now, as load_state_dict shares tensors
    resumed, _, _ = problem(torch.float64)
    resumed.load_state_dict(half.state_dict())
    again = HomotopyAdam(resumed.parameters(), resumed, **options)
    again.load_state_dict(optimizer.state_dict())
    assert train(resumed, again, x, y, 7) == expected[7:]
    assert train(twin, other, x, y, 7) == expected[7:]


def test_a_rate_of_zero_stays_and_is_limited_when_it_rises():
    model, x, y = problem(torch.float64)
    optimizer = HomotopyAdam(model.parameters(), model, lr=0.0)
    assert train(model, optimizer, x, y, 3) == [[0.0]] * 3
    optimizer.param_groups[0]["lr"] = 1e3
    assert 1e3 * optimizer.factors[0] == pytest.approx(optimizer.controller.largest_rates[0])


@pytest.mark.parametrize(
    ("options", "match"),
    [({"margin": 2.0}, "margin"), ({"target": 0.0}, "target"), ({"max_lr_ratio": [1.0, 1.0]}, "max_ratio")],
)
def test_bad_options(options, match):
    model, _, _ = problem(torch.float64)
    with pytest.raises(ValueError, match=match):
        HomotopyAdam(model.parameters(), model, **options)
