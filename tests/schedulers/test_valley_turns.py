"""ValleyLR within a SequentialLR: nothing of it moves before its part, which begins like a run of its own."""

import io

import pytest
import torch
from regression import loss_of, network
from torch.optim.lr_scheduler import ConstantLR, LinearLR, SequentialLR

from lrscape.schedulers import HomotopyLR, ValleyLR
from lrscape.schedulers.base import has_begun


def start(milestone, **options):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = LinearLR(optimizer, 0.01, total_iters=milestone)
    valley = ValleyLR(optimizer, model, **options)
    return model, optimizer, valley, SequentialLR(optimizer, [first, valley], [milestone])


def train(model, optimizer, valley, chain, steps, probes=True):
    rates = []
    for _ in range(steps):
        if probes:
            valley.probe(lambda: loss_of(model))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        chain.step()
    return rates


@pytest.mark.parametrize("probes", [True, False])
def test_the_ascent_begins_with_its_own_part(probes):
    model, optimizer, valley, chain = start(100)
    rates = train(model, optimizer, valley, chain, 104, probes)
    assert rates[99] == pytest.approx(0.1 * 0.9901)
    assert rates[100:] == pytest.approx([1e-5, 1.2e-5, 1.44e-5, 1.728e-5])
    assert not len(valley.history)  # its own warmup, of three steps, is not over
    train(model, optimizer, valley, chain, 1, probes)
    assert len(valley.history) == probes


def test_its_part_is_a_run_of_its_own():
    model, optimizer, valley, chain = start(40)
    train(model, optimizer, valley, chain, 40)
    other = network()
    other.load_state_dict(model.state_dict())
    second = torch.optim.SGD(other.parameters(), lr=0.1)
    alone = ValleyLR(second, other)
    assert train(model, optimizer, valley, chain, 12) == pytest.approx(
        train(other, second, alone, alone, 12), rel=1e-12
    )
    found = [(decision.step - 40, decision.reason) for decision in valley.history]
    assert found == [(decision.step, decision.reason) for decision in alone.history]
    assert found
    for a, b in zip(valley.averaged_state_dict().values(), alone.averaged_state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_before_its_part_the_average_is_the_model():
    model, optimizer, valley, chain = start(40)
    train(model, optimizer, valley, chain, 10)
    for a, b in zip(valley.averaged_state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_it_rewinds_to_where_its_part_began():
    model, optimizer, valley, chain = start(10, rewind=True, start=0.1, growth=4.0, brake=1.01)
    train(model, optimizer, valley, chain, 10)
    begun = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(40):
        train(model, optimizer, valley, chain, 1)
        if not valley.climbing:
            break
    assert valley.history[-1].reason == "brake"
    assert all(torch.equal(a, b) for a, b in zip(begun, model.parameters(), strict=True))


@pytest.mark.parametrize("half", [15, 20, 21, 35])
def test_resumes_bit_for_bit(half):
    model, optimizer, valley, chain = start(20, start=1e-3)
    early = train(model, optimizer, valley, chain, half)
    buffer = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), chain.state_dict()], buffer)
    late = train(model, optimizer, valley, chain, 50 - half)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    twin, second, other, again = start(20, start=1e-3)
    for part, state in zip((twin, second, again), saved, strict=True):
        part.load_state_dict(state)
    assert len(early) == half
    assert train(twin, second, other, again, 50 - half) == late
    for a, b in zip(valley.averaged_state_dict().values(), other.averaged_state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("tensor", [False, True])
def test_first_in_a_sequential_its_own_rate_is_the_first(tensor):
    model = network()
    rate = torch.tensor(1.0, dtype=torch.float64) if tensor else 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    valley = ValleyLR(optimizer, model)
    chain = SequentialLR(optimizer, [valley, ConstantLR(optimizer, 0.5, 100)], [3])
    rates = []
    for _ in range(5):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        chain.step()
    assert rates == pytest.approx([1e-5, 1.2e-5, 1.44e-5, 0.5, 0.5], rel=1e-9)
    assert has_begun(valley)


def test_a_sequential_within_another_waits_too():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = [ConstantLR(optimizer, 0.5, 3), ConstantLR(optimizer, 1.0)]
    inside = SequentialLR(optimizer, parts, [2])
    scheduler = HomotopyLR(optimizer, model, inner=inside)
    assert has_begun(scheduler)
    SequentialLR(optimizer, [LinearLR(optimizer), scheduler], [5])
    assert not has_begun(scheduler)
