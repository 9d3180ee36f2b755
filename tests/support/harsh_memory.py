"""A process whose memory does not suffice: real allocations fail."""

import resource
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lrscape.landscape import Objective, evaluate, grid, random_directions, top_eigenvalues
from lrscape.schedulers import TopoLR


class Wide(nn.Module):
    """Takes two times 16 bytes for each of its ``room`` rows."""

    def __init__(self, room):
        super().__init__()
        self.layer, self.room = nn.Linear(4, 4), room

    def forward(self, x):
        return (self.layer(x).repeat(self.room, 1) * 1.0).square().sum() / self.room


def limited(extra):
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + extra, resource.RLIM_INFINITY))


def memory_limit(folder):
    """Chunks are halved, then it is one point at a time, then an error with advice; and training goes on."""
    made, batch, points = Wide(2**22), torch.ones(1, 4), grid(3)
    directions, objective = random_directions(made, 2), Objective(lambda m, b: m(b), [batch])
    whole = evaluate(made, objective, directions, points, engine="inplace")
    limited(2**28)  # a point takes 128 MiB
    found = evaluate(made, objective, directions, points, engine="batched", chunk=8)
    np.testing.assert_allclose(found.losses, whole.losses, 1e-5)
    assert found.provenance["chunk"] < 8 or found.provenance["engine"] == "inplace", found.provenance
    made.room = 2**26
    before = [parameter.detach().clone() for parameter in made.parameters()]
    with pytest.raises(RuntimeError, match="out of memory, with one point at a time: use directions made with"):
        evaluate(made, objective, directions, points, engine="batched", chunk=8)
    with pytest.raises(RuntimeError, match="out of memory, with one vector at a time: use a smaller batch"):
        top_eigenvalues(made, objective)
    assert all(torch.equal(p, q) for p, q in zip(before, made.parameters(), strict=True))
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    scheduler = TopoLR(optimizer, made, interval=1, warmup=0, on_error="skip")
    optimizer.step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert scheduler.probe(lambda: made(batch)).reason == "skipped"
    assert "out of memory" in str(caught[0].message)
    scheduler.step()
    made.room = 4
    optimizer.step()
    assert scheduler.probe(lambda: made(batch)).reason != "skipped"
