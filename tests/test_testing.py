"""The contract suite catches what it is there to catch."""

import pytest
import torch

from lrscape.schedulers import TopoLR
from lrscape.testing import check_scheduler


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


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ProbesInStep, "harmless|inner|step"),
        (AppliesTwice, "inner|added_group"),
        (MovesWeights, "harmless"),
        (DrawsFromGlobalState, "harmless"),
        (Forgets, "resume"),
        (IgnoresBounds, "bounds"),
        (CountsItsOwnSteps, "due|construction"),
        (KeepsItself, "copies"),
    ],
)
def test_broken_schedulers_are_caught(broken, check):
    with pytest.raises(AssertionError, match=check):
        check_scheduler(broken)
