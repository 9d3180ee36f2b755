"""subset= of a batch: what a rank computes falls with the number of ranks, what all see together stays."""

import pytest
import torch
from loops import Loop
from parallel_loops import Plain, Whole
from ranks import run_ranks

from lrscape.landscape import subset
from lrscape.landscape.ranks import Ranks

FAMILIES = ["TopoLR", "ValleyLR", "HomotopyLR", "kappa"]
EXAMPLES = 16


def of_size(size):
    ranks = Ranks(together=False)
    ranks.size = size
    return ranks


@pytest.mark.parametrize(("size", "share"), [(1, 10), (2, 5), (3, 4), (4, 3), (10, 1), (50, 1)])
def test_shares(size, share):
    x, rest = torch.arange(24).reshape(12, 2), torch.ones(3)
    found = subset({"x": x, "kept": rest, "word": "as it is"}, 10, of_size(size))
    assert torch.equal(found["x"], x[:share])
    assert found["kept"] is rest
    assert found["word"] == "as it is"
    assert found["x"].data_ptr() == x.data_ptr()


def test_a_short_batch_is_taken_whole():
    x = torch.ones(3, 2)
    assert subset(x, 8, of_size(2)) is x
    assert subset("no tensors", 1) == "no tensors"
    with pytest.raises(ValueError, match="at least 1 example, got 0"):
        subset(x, 0)


class Counting:
    """Counts forward passes of probes, and examples in them."""

    def __init__(self, *args, **options):
        self.passes = self.seen = 0
        super().__init__(*args, **options)

    def loss(self, batch):
        self.passes += 1
        self.seen += len(batch[0])
        return super().loss(batch)

    def probe(self, batch):
        self.scheduler.probe(self.loss, batch, subset=EXAMPLES)


class CountingPlain(Counting, Plain):
    pass


class CountingWhole(Counting, Whole):
    pass


def counted(rank, ranks, families):
    found = {}
    for family in families:
        run = CountingPlain(family, rank=rank, examples=EXAMPLES).train(12)
        found[family] = run.passes, run.seen, run.rates
    return found


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_cost_of_a_probe_falls_with_the_ranks(ranks):
    alone = counted_alone()
    found = run_ranks(counted, ranks, FAMILIES)
    for family in FAMILIES:
        for passes, seen, rates in (each[family] for each in found):
            assert seen == passes * EXAMPLES // ranks, family
            assert rates == found[0][family][2], family
            if family != "HomotopyLR":  # whose products depend on what they find
                assert passes == alone[family][0], family
                assert seen * ranks == alone[family][1], family


def counted_alone():
    found = {}
    for family in FAMILIES:
        run = CountingWhole(1, family, examples=EXAMPLES).train(12)
        found[family] = run.passes, run.seen
    return found


def test_what_is_seen_is_the_first_part_of_each_batch():
    def probed(run, batch):
        run.scheduler.probe(lambda: run.loss(tuple(part[:5] for part in batch)))

    cut, by_hand = Loop("TopoLR"), Loop("TopoLR")
    cut.probe = lambda batch: cut.scheduler.probe(cut.loss, batch, subset=5)
    by_hand.probe = lambda batch: probed(by_hand, batch)
    assert cut.train(9).rates == by_hand.train(9).rates
