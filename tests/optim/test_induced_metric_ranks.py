"""Two ranks with half of a batch and half of the parameters each take the steps of one process."""

import warnings

import pytest
import torch
from ranks import run_ranks
from torch import nn

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD
from lrscape.schedulers import InducedMetricLR

KINDS = {"sgd": InducedMetricSGD, "log": InducedMetricLog, "rms": InducedMetricRMS}
STEPS = 4


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()  # rows that do not divide evenly


def train(model, rows, name):
    """Return weights, and the factors or the average of the metric."""
    x = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(16, 3)[rows]
    if name == "scheduler":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = InducedMetricLR(optimizer, embedding="sqrt")
    else:
        optimizer = KINDS[name](model.parameters(), 0.1, weight_decay=0.1)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ((model(x) - x.sin().sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        if name == "scheduler":
            scheduler.use_loss(loss)
            optimizer.step()
            found.append(scheduler.factors[0])
        else:
            optimizer.step(loss=loss)
            found.append(optimizer.metric_average.item())
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return [p.detach().clone() for p in whole], found


def sharded(rank, ranks, name):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, mesh = network(), init_device_mesh("cpu", (ranks,))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return train(model, slice(8 * rank, 8 * rank + 8), name)


def replicated(rank, ranks, name):
    model = nn.parallel.DistributedDataParallel(network())
    return train(model, slice(8 * rank, 8 * rank + 8), name)


def one_fails(rank, ranks):
    """The second rank announces nothing at one step, and two numbers at another."""
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1)
    scheduler = InducedMetricLR(optimizer, embedding="log", on_error="skip")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(4):
            p.grad = torch.full_like(p, 1.0 + step)
            if step != 1 or rank == 0:
                scheduler.use_loss(torch.ones(2) if step == 2 and rank == 1 else 2.0 + rank)
            optimizer.step()
            scheduler.step()
    return p.detach().clone(), [d.reason for d in scheduler.history], [str(warning.message) for warning in caught]


def test_a_loss_that_one_rank_lacks_is_skipped_by_both():
    (first, seen, told), (second, also, said) = run_ranks(one_fails, 2)
    assert seen == also == ["metric", "skipped", "skipped", "metric"]
    assert torch.equal(first, second)
    assert ["rank 1 could not" in "".join(told), "use_loss" in "".join(said)] == [True, True]


@pytest.mark.parametrize("name", [*KINDS, "scheduler"])
@pytest.mark.parametrize("work", [sharded, replicated])
def test_two_ranks_are_as_one_process(work, name):
    (first, seen), (second, also) = run_ranks(work, 2, name)
    assert seen == also
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    weights, expected = train(network(), slice(None), name)
    assert seen == pytest.approx(expected, rel=1e-10)
    for a, b in zip(first, weights, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
