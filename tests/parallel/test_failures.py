"""A rank that fails: under DDP all hear of it at once; under FSDP2 the process group's timeout ends the others."""

import datetime
import time

import pytest
import torch
import torch.distributed as dist
from parallel_loops import SELECTIONS, Replicated, Sharded
from ranks import run_ranks

from lrscape.landscape.ranks import OtherRankFailedError


class Failing:
    """The closure, or whatever the scheduler is told instead, fails on rank 1 from some step on."""

    fails = 6

    def loss(self, batch):
        if self.rank == 1 and self.number >= self.fails:
            raise ArithmeticError("on one rank only")
        return super().loss(batch)

    def losses(self, batch):
        losses = super().losses(batch)
        late = self.rank == 1 and self.number >= self.fails and self.place == "losses"
        return losses.reshape(2, -1).sum(1, keepdim=True) if late else losses  # not one loss for each example

    def iteration(self, batch):
        if self.place == "gradient" and self.rank == 1 and self.number >= self.fails:
            self.scheduler.use_loss = lambda loss: None  # forgotten
        super().iteration(batch)


class FailingReplicas(Failing, Replicated):
    pass


def outcome(rank, ranks, families):
    found = {}
    for family in families:
        run = FailingReplicas(family, rank=rank)
        try:
            run.train(20)
            found[family] = None
        except (ArithmeticError, ValueError, OtherRankFailedError) as error:
            found[family] = type(error).__name__, str(error), run.number
            weights = run.weights
            run.fails = 100  # training can go on
            vars(run.scheduler).pop("use_loss", None)
            run.train(2)
            assert not all(map(torch.equal, weights, run.weights))
    return found


@pytest.mark.parametrize("families", SELECTIONS)
def test_a_failure_on_one_rank_is_raised_on_all_under_ddp(families):
    first, second = run_ranks(outcome, 2, families)
    for family in families:
        kind, message, number = first[family]
        assert kind == "OtherRankFailedError", family
        assert "rank 1 could not evaluate its part" in message, family
        assert second[family][0] in {"ArithmeticError", "ValueError"}, family
        assert second[family][2] == number, family
        assert second[family][1].split("\n")[0] in message, family


def timed_out(rank, ranks, seconds):
    """The model is spread over a group of its own, whose timeout is short."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    group = dist.new_group(timeout=datetime.timedelta(seconds=seconds))

    class Waiting(Failing, Sharded):
        def wrap(self, model):
            return fully_shard(model, mesh=DeviceMesh.from_group(group, "cpu"))

    run = Waiting("TopoLR", rank=rank)
    run.fails = 2
    start = time.monotonic()
    try:
        run.train(20)
    except (ArithmeticError, RuntimeError) as error:
        return type(error).__name__, str(error), time.monotonic() - start
    return None


@pytest.mark.slow
def test_the_timeout_ends_the_others_under_fsdp2():
    seconds = 15
    first, second = run_ranks(timed_out, 2, seconds)
    assert second[:2] == ("ArithmeticError", "on one rank only")
    assert first[0] in {"RuntimeError", "DistBackendError"}
    assert "imed out" in first[1] or "closed by peer" in first[1]
    assert first[2] < 4 * seconds
