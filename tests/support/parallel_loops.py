"""The small training loop of loops.py in several processes."""

import pytest
import torch
from loops import FAMILIES, QUICK, Loop, batch_of, network
from torch.nn.parallel import DistributedDataParallel

SELECTIONS = [
    pytest.param(QUICK, id="one of each kind"),
    pytest.param(tuple(FAMILIES), id="all", marks=pytest.mark.slow),
]


class Replicated(Loop):
    """DDP; probes go through the wrapper, which knows buffers and gradients to synchronise."""

    def __init__(self, family=None, rank=0, examples=8, **options):
        self.rank, self.examples = rank, examples
        super().__init__(family, **options)

    def make_model(self):
        model = network(self.dtype)
        model.insert(1, torch.nn.BatchNorm1d(4, dtype=self.dtype))
        model[0].register_buffer("own", torch.zeros(2))
        self.wrapped = self.wrap(model)
        return model

    def wrap(self, model):
        return DistributedDataParallel(model)

    def losses(self, batch):
        x, y = batch
        return ((self.wrapped(x) - y) ** 2).flatten()

    def batch(self):
        return batch_of(self.number, self.dtype, self.rank, self.examples)


class Plain(Replicated):
    """BatchNorm's statistics are of each rank's own examples, so comparisons with one process go without it."""

    def make_model(self):
        model = network(self.dtype)
        self.wrapped = self.wrap(model)
        return model


class Sharded(Plain):
    """FSDP2; the root keeps its parameters whole after a forward pass."""

    def wrap(self, model):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        fully_shard(model[0], mesh=mesh)
        return fully_shard(model, mesh=mesh)

    @property
    def weights(self):
        return [parameter.detach().full_tensor() for parameter in self.model.parameters()]


class Whole(Plain):
    """One process with the batches of all ranks."""

    def __init__(self, ranks, family=None, **options):
        self.ranks = ranks
        super().__init__(family, **options)

    def wrap(self, model):
        return model

    def batch(self):
        batches = [batch_of(self.number, self.dtype, rank, self.examples) for rank in range(self.ranks)]
        return tuple(map(torch.cat, zip(*batches, strict=True)))


KINDS = {"DDP": Replicated, "DDP without buffers": Plain, "FSDP2": Sharded}
