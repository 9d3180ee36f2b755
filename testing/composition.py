"""How a scheduler combines with torch's own."""

from __future__ import annotations

import math
import warnings

from torch.optim import lr_scheduler as torch_schedulers

from .runs import INNER, RATE, Case, Factory, close


def check_inner(factory: Factory, case: Case) -> None:
    """With inner=, every rate is the inner scheduler's own times our factor."""
    for name, make in INNER.items():
        run = case.start(factory, make)
        alone = case.start(factory)
        optimizer = case.optimizer(alone.model)
        reference = make(optimizer)
        for t in range(20):
            run.train(1)
            optimizer.step()
            reference.step()
            applied = run.scheduler.factors
            expected = [float(group["lr"]) * f for group, f in zip(optimizer.param_groups, applied, strict=True)]
            assert close(run.rates(), expected, case.tensor), f"{name}: {run.rates()} at step {t}, expected {expected}"


def check_chained(factory: Factory, case: Case) -> None:
    """In torch's ChainedScheduler, the rates are those of the other scheduler times our factor."""
    for first in (False, True):
        run = case.start(factory)
        other = torch_schedulers.ExponentialLR(run.optimizer, 0.95)
        members = [run.scheduler, other] if first else [other, run.scheduler]
        chain = torch_schedulers.ChainedScheduler(members, optimizer=run.optimizer)
        for t in range(1, 15):
            run.update()
            run.scheduler.probe(run.closure)
            chain.step()
            plain = [RATE, RATE / 5][: case.groups]
            expected = [r * 0.95**t * f for r, f in zip(plain, run.scheduler.factors, strict=True)]
            assert close(run.rates(), expected, case.tensor), f"{run.rates()} at step {t}, expected {expected}"


def check_sequential(factory: Factory, case: Case) -> None:
    """In torch's SequentialLR, our part starts from the initial rates, with or without an inner scheduler."""
    for make in (None, INNER["CosineAnnealingLR"]):
        run = case.start(factory, make)
        warmup = torch_schedulers.LinearLR(run.optimizer, 0.1, total_iters=6)
        chain = torch_schedulers.SequentialLR(run.optimizer, [warmup, run.scheduler], milestones=[6])
        for t in range(1, 20):
            run.update()
            run.scheduler.probe(run.closure)
            chain.step()
            after = 1.0 if make is None else (1 + math.cos(math.pi * (t - 6) / 40)) / 2
            shape = 0.1 + 0.9 * t / 6 if t < 6 else after
            factors = run.scheduler.factors if t >= 6 else [1.0] * case.groups
            plain = [RATE, RATE / 5][: case.groups]
            expected = [r * shape * f for r, f in zip(plain, factors, strict=True)]
            assert close(run.rates(), expected, case.tensor), f"{run.rates()} at step {t}, expected {expected}"


def check_sequential_first(factory: Factory, case: Case) -> None:
    """First in torch's SequentialLR, our part holds the factor from the first step on, and no later rate is touched."""
    run = case.start(factory)
    after = torch_schedulers.ConstantLR(run.optimizer, 0.5, 100)
    chain = torch_schedulers.SequentialLR(run.optimizer, [run.scheduler, after], milestones=[6])
    for t in range(14):
        factors = run.scheduler.factors if t < 6 else [0.5] * case.groups
        expected = [rate * factor for rate, factor in zip([RATE, RATE / 5], factors, strict=False)]
        assert close(run.rates(), expected, case.tensor), f"{run.rates()} at step {t}, expected {expected}"
        run.update()
        run.scheduler.probe(run.closure)
        assert t < 6 or close(run.rates(), expected, case.tensor), f"a probe set another's rates to {run.rates()}"
        chain.step()


def check_closed_form(factory: Factory, case: Case) -> None:
    """step(epoch) goes through the closed form: the initial rates, or inner's at that epoch, times our factor."""
    run = case.start(factory, INNER["CosineAnnealingLR"])
    run.train(9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the argument
        run.scheduler.step(20)
    plain = [RATE, RATE / 5][: case.groups]
    expected = [r * (1 + math.cos(math.pi / 2)) / 2 * f for r, f in zip(plain, run.scheduler.factors, strict=True)]
    assert run.scheduler.last_epoch == 20, "step(epoch) must set last_epoch"
    assert close(run.rates(), expected, case.tensor), f"{run.rates()} at epoch 20, expected {expected}"
