"""What a scheduler does by itself."""

from __future__ import annotations

import copy
import math
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedulers

from ..landscape.random_state import take_state
from .runs import RATE, Case, Factory, Run, close


def check_construction(factory: Factory, case: Case) -> None:
    """Constructing changes no rate, and the scheduler is one of torch's."""
    run = case.start(factory)
    assert isinstance(run.scheduler, torch_schedulers.LRScheduler), "must be a torch LRScheduler"
    expected = [RATE, RATE / 5][: case.groups]
    assert close(run.rates(), expected, case.tensor), f"rates {run.rates()} after construction, expected {expected}"
    assert [float(rate) for rate in run.scheduler.get_last_lr()] == run.rates(), "get_last_lr() must give the rates"


def check_due(factory: Factory, case: Case) -> None:
    """due() is true once per optimizer step, after the warmup, every interval, however often step() is called."""
    run = case.start(factory, interval=3, warmup=4)
    found = []
    for t in range(1, 14):
        run.update()
        asked = run.scheduler.awaits_probe()
        assert run.scheduler.awaits_probe() == asked, "asking by awaits_probe() must not take the turn"
        if run.scheduler.due():
            found.append(t)
        assert asked == (found[-1:] == [t]), "awaits_probe() must say what due() will"
        assert not run.scheduler.due(), "due() must be true at most once per optimizer step"
        for _ in range(t % 3):
            run.scheduler.step()
            assert not run.scheduler.due(), "step() must not count as an optimizer step"
    assert found == [6, 9, 12], f"due at {found} with interval 3 and warmup 4, expected [6, 9, 12]"


def _held(optimizer: Optimizer) -> list[tuple[str, Any]]:
    """List what an optimizer knows of its parameters and groups, tensors as their numbers."""
    entries = [*optimizer.state.values(), *optimizer.param_groups]
    return [
        (name, value.tolist() if isinstance(value, Tensor) else value)
        for entry in entries
        for name, value in entry.items()
        if name != "params"
    ]


def check_harmless(factory: Factory, case: Case) -> None:
    """A probe changes nothing of the model's, the optimizer's or the random state, and step() does not probe."""
    run = case.start(factory)
    run.train(5)
    torch.autograd.backward(run.closure())
    run.model.train()
    run.model[0].eval()
    pending = run.closure()
    state, held = take_state(), _held(run.optimizer)
    before = copy.deepcopy((run.model.state_dict(), [p.grad for p in run.model.parameters()]))
    versions = [p._version for p in run.model.parameters()]
    run.scheduler.measure(run.closure)
    after = (run.model.state_dict(), [p.grad for p in run.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), after[0].values(), strict=True)), "weights moved"
    for a, b in zip(before[1], after[1], strict=True):
        assert (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)), "gradients changed"
    assert [m.training for m in run.model] == [False, True, True], "modes changed"
    assert state == take_state(), "random state changed"
    assert held == _held(run.optimizer), "the optimizer changed"
    assert versions == [p._version for p in run.model.parameters()], "version counters changed"
    torch.autograd.backward(pending)
    seen = len(run.scheduler.history)
    run.update()  # step 6, when a probe is due
    run.scheduler.step()
    assert len(run.scheduler.history) == seen, "step() must not probe"


def check_step_idempotent(factory: Factory, case: Case) -> None:
    """However often step() is called, the rates hold the factor once."""
    run = case.start(factory)
    run.train(9)
    rates = run.rates()
    for _ in range(5):
        run.scheduler.step()
    assert run.rates() == rates, f"five more steps changed the rates from {rates} to {run.rates()}"


def check_tensor_rates(factory: Factory, case: Case) -> None:
    """Tensor rates stay the tensors they were, updated in place; floats stay floats."""
    run = case.start(factory)
    before = [group["lr"] for group in run.optimizer.param_groups]
    run.train(9)
    for rate, group in zip(before, run.optimizer.param_groups, strict=True):
        if case.tensor:
            assert group["lr"] is rate, "a tensor rate was replaced by another object"
        else:
            assert type(group["lr"]) is float, f"a float rate became {type(group['lr']).__name__}"


def check_added_group(factory: Factory, case: Case) -> None:
    """A parameter group added during training is steered as well."""
    run = case.start(factory)
    run.train(9)
    extra = nn.Parameter(torch.ones(2))
    rate = torch.tensor(RATE / 2) if case.tensor else RATE / 2
    run.optimizer.add_param_group({"params": [extra], "lr": rate})
    run.train(6)
    factors = run.scheduler.factors
    assert len(factors) == case.groups + 1, "no factor for the added group"
    assert close(run.rates()[-1:], [RATE / 2 * factors[-1]], case.tensor), f"added group has rate {run.rates()[-1]}"


def check_bounds(factory: Factory, case: Case) -> None:
    """Factors stay within their bounds, one number or one per group; a wrong count is refused."""
    low, high = [0.9, 0.8][: case.groups], [0.95, 1.1][: case.groups]
    run = case.start(factory, min_ratio=low, max_ratio=high)
    run.train(15)
    for factor, least, most in zip(run.scheduler.factors, low, high, strict=True):
        assert least <= factor <= most, f"factor {factor} outside [{least}, {most}]"
    try:
        case.start(factory, min_ratio=[0.1, 0.1, 0.1])
    except ValueError as error:
        assert "min_ratio" in str(error), "the message must name the argument"  # noqa: PT017  pytest is not needed here
    else:
        raise AssertionError("three bounds for fewer groups must be refused")


def _spoiled(run: Run, value: float) -> Tensor:
    return run.closure() * 0 + value


def check_not_finite(factory: Factory, case: Case) -> None:
    """A loss that is not finite slows down, warns once and poisons nothing."""
    for bad in (float("nan"), float("inf")):
        run = case.start(factory, warmup=0, interval=1)
        run.train(4)
        before = run.rates()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                run.update()
                run.scheduler.probe(partial(_spoiled, run, bad))
                run.scheduler.step()
        assert len([w for w in caught if w.category is RuntimeWarning]) == 1, "must warn exactly once"
        assert all(a <= b for a, b in zip(run.rates(), before, strict=True)), "must not accelerate"
        run.optimizer.zero_grad()
        run.train(6)
        assert all(math.isfinite(rate) and rate > 0 for rate in run.rates()), "rates are not finite any more"
        assert math.isfinite(sum(run.scheduler.history[-1].measurement.values())), "later measurements are poisoned"


def check_bad_closure(factory: Factory, case: Case) -> None:
    """A closure that returns a float or a vector, or raises, gets an error; weights and state stay."""

    def raises() -> Tensor:
        raise ZeroDivisionError

    for closure, kind in ((lambda: 1.0, TypeError), (lambda: torch.ones(3), ValueError), (raises, ZeroDivisionError)):
        run = case.start(factory)
        run.train(5)
        state = copy.deepcopy(run.scheduler.state_dict())
        weights = [p.detach().clone() for p in run.model.parameters()]
        try:
            run.scheduler.measure(closure)  # type: ignore[arg-type]  # that is the point
        except kind:
            pass
        else:
            raise AssertionError(f"expected {kind.__name__}")
        assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True)), "weights moved"
        assert str(state) == str(run.scheduler.state_dict()), "a failed measurement changed the state"


def check_history(factory: Factory, case: Case) -> None:
    """Every observation is recorded with its reason and with the rates that follow."""
    run = case.start(factory, history_size=3)
    for _ in range(12):
        rates = run.train(1)[0]
        if len(run.scheduler.history) and run.scheduler.history[-1].step == run.scheduler._steps:
            assert close(run.scheduler.history[-1].rates, rates, case.tensor), "recorded rates are not the applied ones"
            assert run.scheduler.history[-1].reason, "no reason recorded"
    assert [decision.step for decision in run.scheduler.history] == [8, 10, 12], "history must keep the latest three"
