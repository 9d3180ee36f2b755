"""The contract suite catches what it is there to catch."""

import random
import re

import pytest
import torch

from lrscape.schedulers import TopoLR
from lrscape.testing import FEW_CASES, HARD_CHECKS, SCHEDULER_CHECKS, check_scheduler


class ProbesInStep(TopoLR):
    def step(self, epoch=None):
        self.probe(lambda: self.model[0].weight.sum() ** 2)
        super().step(epoch)


class AppliesTwice(TopoLR):
    def get_lr(self):
        return [rate * factor for rate, factor in zip(super().get_lr(), self.factors, strict=True)]


class MovesWeights(TopoLR):
    def measure(self, closure):
        found = super().measure(closure)
        with torch.no_grad():
            self.model[0].weight.add_(1e-7)
        return found


class DrawsFromGlobalState(TopoLR):
    def measure(self, closure):
        torch.rand(1)
        return super().measure(closure)


class DrawsFromPython(TopoLR):
    def measure(self, closure):
        random.random()
        return super().measure(closure)


class ChangesTheOptimizer(TopoLR):
    def measure(self, closure):
        for state in self.optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.mul_(1 + 1e-6)
        return super().measure(closure)


class AsksByTaking(TopoLR):
    def awaits_probe(self):
        answer = super().awaits_probe()
        self._asked = self._steps
        return answer


class OverridesDue(TopoLR):
    def due(self):
        return super().due() and self._steps == 6


class RaisesTypeError(TopoLR):
    def step(self, epoch=None):
        raise TypeError("not this way")


class Forgets(TopoLR):
    def load_state_dict(self, state_dict):
        super().load_state_dict({**state_dict, "_log_curvature": None, "_reference": None, "factors": [1.0]})


class IgnoresBounds(TopoLR):
    def _clip(self, i, factor):
        return factor


class CountsItsOwnSteps(TopoLR):
    def step(self, epoch=None):
        self._steps += 1
        super().step(epoch)


class KeepsItself(TopoLR):
    def __init__(self, optimizer, model, **options):
        super().__init__(optimizer, model, **options)
        optimizer.mine = self


class LosesItsView(TopoLR):
    def __init__(self, optimizer, model, **options):
        self._counts = torch.zeros(2)
        self._count = self._counts[:1]  # by itself it would be pickled by itself
        super().__init__(optimizer, model, **options)

    def decide(self, measurement):
        self._counts += 1
        return super().decide(measurement)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ProbesInStep, "harmless|inner|step"),
        (AppliesTwice, "inner|added_group"),
        (MovesWeights, "harmless"),
        (DrawsFromGlobalState, "harmless"),
        (DrawsFromPython, "harmless.*random state"),
        (ChangesTheOptimizer, "harmless.*the optimizer changed"),
        (AsksByTaking, "due with .*awaits_probe"),
        (OverridesDue, "due with .*awaits_probe"),
        (Forgets, "resume"),
        (IgnoresBounds, "bounds"),
        (CountsItsOwnSteps, "due|construction"),
        (KeepsItself, "copies"),
        (LosesItsView, "copies.*what was pickled must have the state"),
    ],
)
def test_broken_schedulers_are_caught(broken, check):
    with pytest.raises(AssertionError, match=check):
        check_scheduler(broken)


def test_a_class_that_cannot_be_pickled_is_no_worse():
    class Local(TopoLR):
        pass

    SCHEDULER_CHECKS["copies"](Local, FEW_CASES[0])


def test_what_a_scheduler_raises_itself_is_noted_with_the_check():
    with pytest.raises(TypeError, match="not this way") as caught:
        check_scheduler(RaisesTypeError)
    assert re.fullmatch(r"raised in the check \w+ with Case\(.*\)", caught.value.__notes__[0])


class BrakesOnNegativeLosses(TopoLR):
    def diverging(self, loss):
        before, self._average = self._average, loss
        return before is not None and loss > 2 * before


class TakesInfinityForSteep(TopoLR):
    def finite(self, measurement):
        return True

    def decide(self, measurement):
        self.assign(1.0)
        return "curvature"


class RaisesOnOverflow(TopoLR):
    def decide(self, measurement):
        self.assign(1 / (1 + measurement.loss**3))  # a power of floats raises where it overflows
        return "curvature"


class LearnsFromNaN(TopoLR):
    def finite(self, measurement):
        return True

    def decide(self, measurement):
        self.assign(measurement.curvature)
        return "curvature"


class KeepsTheGraph(TopoLR):
    def measure(self, closure):
        self._rates.kept = closure()
        return super().measure(closure)


class HoldsItsOptimizer(TopoLR):
    def __init__(self, optimizer, model, **options):
        super().__init__(optimizer, model, **options)
        optimizer.itself = optimizer


class RaisesAlways(TopoLR):
    def skip(self, error):
        raise error


class SkipsSilently(TopoLR):
    def skip(self, error):
        return self._record({}, "skipped")


class ForgetsOnFailure(TopoLR):
    def skip(self, error):
        self.assign(0.5)
        return super().skip(error)


class MovesZeros(TopoLR):
    def measure(self, closure):
        found = super().measure(closure)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(1)
        return found


@pytest.mark.parametrize("case", FEW_CASES[:1], ids=str)
@pytest.mark.parametrize(
    ("broken", "check", "error"),
    [
        (BrakesOnNegativeLosses, "negative_losses", AssertionError),
        (BrakesOnNegativeLosses, "constant_losses", AssertionError),
        (TakesInfinityForSteep, "not_finite_at_each_stage", AssertionError),
        (LearnsFromNaN, "not_finite_around", AssertionError),
        (RaisesOnOverflow, "huge_losses", OverflowError),
        (LearnsFromNaN, "exploding_weights", AssertionError),
        (MovesZeros, "odd_parameters", AssertionError),
        (KeepsTheGraph, "no_graph_kept", AssertionError),
        (HoldsItsOptimizer, "optimizer_released", AssertionError),
        (RaisesAlways, "on_error", torch.OutOfMemoryError),
        (SkipsSilently, "on_error", AssertionError),
        (ForgetsOnFailure, "on_error", AssertionError),
    ],
)
def test_hard_checks_catch_what_they_are_there_for(broken, check, error, case):
    with pytest.raises(error):
        HARD_CHECKS[check](broken, case)


def test_every_hard_check_has_caught_something():
    marks = test_hard_checks_catch_what_they_are_there_for.pytestmark
    caught = {values[1] for mark in marks if mark.args[0][0] == "broken" for values in mark.args[1]}
    assert caught == set(HARD_CHECKS)
