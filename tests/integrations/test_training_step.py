"""A training step computes its loss and leaves its module as it was."""

from collections import Counter, OrderedDict, defaultdict, deque

import pytest
import torch
from plain_loop import batches, loss_of, network
from torch import nn

from lrscape.integrations.training_step import SkippedBatch, step_loss, undisturbed

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
    for output in ({"other": expected}, 3.0):

        class Odd(nn.Module):
            def training_step(self, batch, batch_idx, output=output):
                return output

        with pytest.raises(TypeError, match="must return the loss"):
            step_loss(Odd(), BATCH, 7)


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (lambda self, *args: self.got(*args), (BATCH, 7)),
        (lambda self, batch, *rest: self.got(batch, *rest), (BATCH, 7)),
        (lambda self, batch, number=0: self.got(batch, number), (BATCH, 7)),
        (lambda self, batch, /, number: self.got(batch, number), (BATCH, 7)),
        (lambda self, batch, **more: self.got(batch, **more), (BATCH,)),
        (lambda self, batch, *, number=0: self.got(batch), (BATCH,)),
        (lambda self, batch: self.got(batch), (BATCH,)),
    ],
)
def test_a_step_gets_the_number_if_it_takes_two_arguments_by_position(step, given):
    """As in Lightning, whose own rule is asked where it is installed."""

    class Given(nn.Module):
        training_step = step

        def got(self, *args):
            self.args = args
            return torch.ones(())

    module = Given()
    step_loss(module, BATCH, 7)
    assert module.args == given
    rules = pytest.importorskip("lightning.pytorch.utilities.signature_utils")
    assert rules.is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2) == (len(given) == 2)


def test_a_skipped_batch_is_no_error_of_kind():
    class Skips(nn.Module):
        def training_step(self, batch, batch_idx):
            return None

    with pytest.raises(SkippedBatch, match=r"must return the loss or a dict .* got NoneType"):
        step_loss(Skips(), BATCH, 7)


def test_containers_of_all_kinds_are_put_back_also_nested():
    module = nn.Module()
    module.recent, module.named = deque([0], maxlen=2), defaultdict(list, {"loss": [1.0]})
    module.nested, module.count = {"a": [[]]}, Counter("ab")
    module.order, module.both = OrderedDict(x=1, y=2), ([], 3)
    recent, losses, inner = module.recent, module.named["loss"], module.nested["a"]
    with undisturbed(module):
        module.recent.extend([1, 2, 3])
        module.named["loss"].append(2.0)
        module.named["rate"].append(0.1)
        module.nested["a"][0].append(4)
        module.nested["a"] = 3
        module.count.update("aac")
        module.order.move_to_end("x")
        module.both[0].append(1)
    assert (list(module.recent), module.recent.maxlen, module.recent is recent) == ([0], 2, True)
    assert (module.named, module.named["loss"] is losses, losses) == ({"loss": [1.0]}, True, [1.0])
    assert (module.nested, module.nested["a"] is inner) == ({"a": [[]]}, True)
    assert (module.count, list(module.order), module.both) == ({"a": 1, "b": 1}, ["x", "y"], ([], 3))
    assert type(module.named) is defaultdict
