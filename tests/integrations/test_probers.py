"""Schedulers are found behind wrappers, and asked without taking their turn."""

import pytest
from plain_loop import SCHEDULERS, Plain, batches, network, optimizer_of, topo
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LinearLR, SequentialLR

from lrscape.integrations.probers import find_probers, is_due, only_prober
from lrscape.optim import TopoAdamW


class Wrapper:
    """As Accelerate wraps schedulers and optimizers."""

    def __init__(self, **held):
        self.__dict__.update(held)


def test_found_wherever_they_are():
    model = network()
    optimizer = optimizer_of(model)
    inner = topo(optimizer, model, inner=LinearLR(optimizer))
    steering = TopoAdamW(model.parameters(), model)
    other = ConstantLR(optimizer)
    assert find_probers(inner) == [inner]
    assert find_probers(SequentialLR(optimizer, [other, inner], [3]), inner) == [inner]
    assert find_probers(ChainedScheduler([inner, other], optimizer)) == [inner]
    assert find_probers(Wrapper(scheduler=inner), Wrapper(optimizer=steering)) == [inner, steering]
    assert find_probers(Wrapper(_optimizer=steering)) == [steering]
    outer = topo(optimizer, model, inner=topo(optimizer, model))
    assert find_probers(outer) == [outer, outer._schedulers[0]]
    assert find_probers(other, optimizer, None, 3, Wrapper(scheduler=None)) == []
    assert only_prober(Wrapper(scheduler=inner)) is inner
    assert only_prober(steering).history is steering.controller.history
    with pytest.raises(TypeError, match="holds 2 of them"):
        only_prober(outer)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_asking_changes_nothing(name):
    def asking(make):
        class Asking(Plain):
            def advance(self, batch, *, last):
                before = len(self.scheduler.history)
                expected = is_due(self.scheduler)
                assert is_due(self.scheduler) == expected
                super().advance(batch, last=last)
                if self.scheduler.probes_first:
                    assert (len(self.scheduler.history) > before) == expected

        return Asking(make)

    asked, plain = (run.train(batches(), 4) for run in (asking(SCHEDULERS[name]), Plain(SCHEDULERS[name])))
    assert asked.rates == plain.rates
    assert str(asked.scheduler.state_dict()) == str(plain.scheduler.state_dict())
