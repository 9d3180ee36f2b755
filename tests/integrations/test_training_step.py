"""A training step computes its loss and leaves its module as it was."""

import pytest
import torch
from plain_loop import batches, loss_of, network
from torch import nn

from lrscape.integrations.training_step import step_loss, undisturbed

BATCH = next(iter(batches()))


class Busy(nn.Module):
    """Stands for a Lightning module that keeps all kinds of things."""

    def __init__(self, fails=False):
        super().__init__()
        self.net, self.fails = network(), fails
        self.losses, self.counts, self.seen = [], {"steps": 0}, {0}
        self.total, self.average, self.logged = 0, torch.zeros(2), []
        self.inner = nn.Linear(1, 1)

    def log(self, *args, **kwargs):
        self.logged.append(args)

    log_dict = log

    def training_step(self, batch, batch_idx):
        loss = loss_of(self.net, batch)
        self.losses.append(loss)
        self.counts["steps"] += 1
        self.counts[batch_idx] = loss
        self.seen.add(batch_idx)
        self.total += 1
        self.average += loss.detach()
        self.latest = loss
        self.log("loss", loss)
        self.log_dict({"loss": loss})
        if self.fails:
            raise ZeroDivisionError
        return {"loss": loss, "more": 3}


@pytest.mark.parametrize("fails", [False, True])
def test_everything_the_module_keeps_is_put_back(fails):
    module = Busy(fails)
    average, losses = module.average, module.losses
    names = list(vars(module))
    try:
        with undisturbed(module):
            step_loss(module, BATCH, 7)
            step_loss(module, BATCH, 8)
    except ZeroDivisionError:
        assert fails
    assert list(vars(module)) == names
    assert (module.losses, module.counts, module.seen, module.total) == ([], {"steps": 0}, {0}, 0)
    assert module.losses is losses
    assert module.average is average
    assert torch.equal(average, torch.zeros(2))
    assert module.logged == []
    assert "latest" not in vars(module)
    module.log("again")
    assert module.logged == [("again",)]


def test_kinds_of_steps():
    class Short(Busy):
        def training_step(self, batch):
            return super().training_step(batch, 3)["loss"]

    expected = loss_of(network(), BATCH)
    assert torch.equal(step_loss(Busy(), BATCH, 7), expected)
    assert torch.equal(step_loss(Short(), BATCH, 7), expected)
    for output in (None, {"other": expected}, 3.0):

        class Odd(nn.Module):
            def training_step(self, batch, batch_idx, output=output):
                return output

        with pytest.raises(TypeError, match="must return the loss"):
            step_loss(Odd(), BATCH, 7)
