"""What a scheduler does when a probe fails, and what it leaves in memory."""

from __future__ import annotations

import gc
import warnings
import weakref
from functools import partial

import torch
from torch import Tensor

from .runs import Case, Factory, Run


def _exhausted() -> Tensor:
    raise torch.OutOfMemoryError("out of memory, says the test")


def check_on_error(factory: Factory, case: Case) -> None:
    """With on_error="skip" a probe that fails changes nothing, is told once, and the next one measures again."""
    run = case.start(factory, on_error="skip", warmup=0, interval=1)
    run.train(4)
    skipped = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            run.optimizer.zero_grad()
            run.update()
            factors = run.scheduler._current_factors()
            decision = run.scheduler.probe(_exhausted)
            if decision is None:
                continue  # it measures no more, as after a warmup
            skipped += 1
            assert decision.reason == "skipped", f"a failed probe was recorded as {decision.reason}"
            assert decision.measurement == {}, "a failed probe has no measurement"
            assert run.scheduler._current_factors() == factors, "a failed probe changed the factors"
            run.scheduler.step()
    told = [w for w in caught if "out of memory, says the test" in str(w.message)]
    assert len(told) == min(1, skipped), f"must be told once, not {len(told)} times, that {skipped} probes failed"
    found = run.train(3)
    assert all(rate > 0 for rate in found[-1]), "rates are lost after a failed probe"
    run = case.start(factory, warmup=0, interval=1)
    run.train(4)
    run.optimizer.zero_grad()
    run.update()
    seen = len(run.scheduler.history)
    try:
        missed = run.scheduler.probe(_exhausted) is None
    except torch.OutOfMemoryError:
        missed = True
    assert missed, "by default a failed probe raises"
    assert len(run.scheduler.history) == seen, "a probe that raised was recorded"
    try:
        case.start(factory, on_error="ignore")
    except ValueError as error:
        assert "on_error" in str(error), "the message must name the argument"  # noqa: PT017  pytest is not needed here
    else:
        raise AssertionError("an unknown on_error must be refused")


def _watched(run: Run, seen: list[weakref.ref[Tensor]]) -> Tensor:
    """Compute the loss, and remember by weak references what its graph holds."""
    x = torch.linspace(-1, 1, 48).reshape(16, 3)
    hidden = run.model[1](run.model[0](x))
    loss: Tensor = ((run.model[2](hidden) - x.sin().sum(1, keepdim=True)) ** 2).mean()
    seen += [weakref.ref(hidden), weakref.ref(loss)]
    return loss


def check_no_graph_kept(factory: Factory, case: Case) -> None:
    """Nothing of a probe's forward pass is alive after it, without help of the garbage collector."""
    run = case.start(factory, warmup=0, interval=1)
    run.train(3)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            run.optimizer.zero_grad()
            run.update()
            seen: list[weakref.ref[Tensor]] = []
            run.scheduler.probe(partial(_watched, run, seen))
            alive = [tuple(tensor.shape) for watch in seen if (tensor := watch()) is not None]
            assert not alive, f"after a probe tensors of its forward pass are alive, of shapes {alive}"
            run.scheduler.step()
    finally:
        gc.enable()


def check_optimizer_released(factory: Factory, case: Case) -> None:
    """Neither scheduler nor a reference cycle keeps the optimizer and the model alive."""
    run = case.start(factory, warmup=0, interval=1)
    run.train(3)
    optimizer, model = weakref.ref(run.optimizer), weakref.ref(run.model)
    gc.collect()
    gc.disable()
    try:
        del run
        assert optimizer() is None, "a reference cycle through the optimizer"
        assert model() is None, "a reference cycle through the model"
    finally:
        gc.enable()
