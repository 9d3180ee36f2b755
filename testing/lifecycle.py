"""How a scheduler is saved, copied and dropped."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import torch
from torch import Tensor

from .runs import INNER, Case, Factory, Run, round_trip


def check_resume(factory: Factory, case: Case) -> None:
    """A run that goes on from torch.load(weights_only=True) is bitwise the uninterrupted one."""
    for make in (None, INNER["CosineAnnealingLR"], INNER["OneCycleLR"]):
        whole = case.start(factory, make)
        expected = whole.train(20)
        half = case.start(factory, make)
        half.train(9)
        saved = round_trip([half.model.state_dict(), half.optimizer.state_dict(), half.scheduler.state_dict()])
        resumed = case.start(factory, make)
        resumed.model.load_state_dict(saved[0])
        resumed.optimizer.load_state_dict(saved[1])
        resumed.scheduler.load_state_dict(saved[2])
        assert resumed.train(11) == expected[9:], "rates differ after resuming"
        for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(a, b), "weights differ after resuming"
        steps = [decision.step for decision in resumed.scheduler.history]
        assert steps == [decision.step for decision in whole.scheduler.history], "history differs after resuming"


def _pickled(run: Run) -> Run | None:
    """Copy by pickling, where that can be done: not with a class or a function that is defined within another."""
    try:
        written = pickle.dumps(run)
    except (pickle.PicklingError, AttributeError):
        return None
    copied: Run = pickle.loads(written)
    return copied


def _same(a: Any, b: Any) -> bool:
    """Compare states bit by bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def check_copies(factory: Factory, case: Case) -> None:
    """Deepcopy and pickle work, and neither the optimizer nor a cycle keeps the scheduler alive."""
    run = case.start(factory)
    run.train(5)
    twins = {"a deep copy": copy.deepcopy(run), "what was pickled": _pickled(run)}
    rates = run.train(8)
    for name, twin in twins.items():
        if twin is not None:
            assert twin.train(8) == rates, f"{name} must go on like the original"
            states = [one.scheduler.state_dict() for one in (twin, run)]
            assert _same(*states), f"{name} must have the state of the original, averages and all"
    del twins
    pickled = pickle.loads(pickle.dumps(run.scheduler.state_dict()))
    assert str(pickled) == str(run.scheduler.state_dict()), "the state does not survive pickling"
    watch = weakref.ref(run.scheduler)
    optimizer = run.optimizer
    gc.collect()
    gc.disable()
    try:
        del run
        assert watch() is None, "the optimizer or a reference cycle keeps the scheduler, and with it the model, alive"
    finally:
        gc.enable()
    optimizer.step()  # the hook of the dead scheduler must not fail
