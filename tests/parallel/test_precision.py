"""Low precision and accumulation over ranks: one rate for all, and finite ones."""

import pytest
import torch
from loops import PINNED, batch_of
from parallel_loops import SELECTIONS, Plain, Sharded, Whole
from ranks import run_ranks
from torch.distributed.tensor import distribute_tensor

from lrscape.landscape import kappa, preconditioned_sharpness


class Single:
    dtype = torch.float32


class Cast(Single):
    lower = torch.bfloat16

    def losses(self, batch):
        with torch.autocast("cpu", self.lower):
            return super().losses(batch).float()


class ReplicatedCast(Cast, Plain):
    pass


class ReplicatedHalf(ReplicatedCast):
    lower = torch.float16


class ShardedCast(Cast, Sharded):
    pass


class ShardedPolicy(Single, Sharded):
    """FSDP2's own mixed precision: bfloat16 in the forward and backward pass, float32 shards."""

    def wrap(self, model):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        fully_shard(model[0], mesh=mesh, mp_policy=policy)
        return fully_shard(model, mesh=mesh, mp_policy=policy)


class ReplicatedScaled(Single, Plain):
    """The gradients of one rank overflow; those of all are skipped."""

    def __init__(self, family=None, **options):
        super().__init__(family, **options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10**6)

    def backward(self, losses):
        factor = torch.inf if self.number == 4 and self.rank == 1 else 1.0
        self.scaler.scale(losses.mean() * factor).backward()

    def take_step(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()


class ReplicatedAccumulating(Plain):
    """Two halves; the first without reducing gradients."""

    def iteration(self, batch):
        first, second = zip(*(part.chunk(2) for part in batch), strict=True)
        if self.place == "before":
            self.probe(first)
        self.optimizer.zero_grad()
        with self.wrapped.no_sync():
            self.backward(self.losses(first) / 2)
        losses = self.losses(second)
        self.backward(losses / 2)
        self.finish(losses, second)

    def finish(self, losses, half):
        if self.place == "gradient":
            self.scheduler.use_loss(losses.detach().mean())
        self.take_step()
        if self.place == "after":
            self.probe(half)
        if self.place == "losses":
            self.scheduler.observe(losses.detach())
        if self.scheduler is not None:
            self.scheduler.step()


class ShardedAccumulating(ReplicatedAccumulating, Sharded):
    def iteration(self, batch):
        first, second = zip(*(part.chunk(2) for part in batch), strict=True)
        self.optimizer.zero_grad()
        self.model.set_requires_gradient_sync(False)
        self.backward(self.losses(first) / 2)
        if self.place == "before":
            self.probe(second)  # between the halves: what is accumulated so far stays out of it
        self.model.set_requires_gradient_sync(True)
        losses = self.losses(second)
        self.backward(losses / 2)
        self.finish(losses, second)


KINDS = {
    "DDP, autocast bfloat16": ReplicatedCast,
    "DDP, autocast float16": ReplicatedHalf,
    "DDP, GradScaler": ReplicatedScaled,
    "DDP, accumulation": ReplicatedAccumulating,
    "FSDP2, autocast bfloat16": ShardedCast,
    "FSDP2, policy bfloat16": ShardedPolicy,
    "FSDP2, accumulation": ShardedAccumulating,
}


def trained(rank, ranks, kind, families):
    found = {}
    for family in families:
        run = KINDS[kind](family, rank=rank).train(10)
        found[family] = run.rates, run.reasons, run.weights, run.scheduler._steps
    pinned = {}
    plain = KINDS[kind](rank=rank).train(10)
    for family in families:
        run = KINDS[kind](family, rank=rank, **PINNED).train(10)
        pinned[family] = all(map(torch.equal, run.weights, plain.weights))
    return found, pinned


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_ranks_take_the_same_rates(kind, selection):
    families = selection
    (first, untouched), (second, _) = run_ranks(trained, 2, kind, families)
    for family in families:
        rates, reasons, weights, steps = first[family]
        assert (rates, reasons) == second[family][:2], family
        assert all(map(torch.equal, weights, second[family][2])), family
        assert "non-finite" not in reasons, family
        assert all(torch.isfinite(weight).all() for weight in weights), family
        assert steps == (9 if kind == "DDP, GradScaler" else 10)
        assert untouched[family], family


def curvatures(rank, ranks, trained_for):
    """Sharpness and κ of the same weights, as float64 in one process and FSDP2 in bfloat16 measure them."""
    exact = Whole(ranks).train(trained_for)
    found = []
    for run in (exact, ShardedCast(rank=rank), ShardedPolicy(rank=rank)):
        if run is not exact:
            for mine, its in zip(run.model.parameters(), exact.model.parameters(), strict=True):
                whole = its.detach().to(run.dtype)
                mine.to_local().detach().copy_(distribute_tensor(whole, mine.device_mesh, mine.placements).to_local())
        batches = [batch_of(3, run.dtype, each) for each in range(ranks)]
        batch = batches[rank] if run is not exact else tuple(map(torch.cat, zip(*batches, strict=True)))
        closure = lambda run=run, batch=batch: run.loss(batch)  # noqa: E731
        sharp = preconditioned_sharpness(run.model, closure, run.optimizer, tolerance=1e-2)
        found.append((sharp.sharpness, kappa(run.model, closure, seed=0).kappa))
    return found


@pytest.mark.parametrize("trained_for", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_differences_are_taken_over_steps_that_bfloat16_can_tell_apart(trained_for):
    found, other = run_ranks(curvatures, 2, trained_for)
    assert found[1:] == other[1:]
    exact, *low = found
    for sharpness, normalised in low:
        assert sharpness == pytest.approx(exact[0], rel=0.1)
        assert normalised == pytest.approx(exact[1], rel=0.1)
