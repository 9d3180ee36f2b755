"""ValleyLR in several real processes: one rate for all, though each sees data of its own."""

import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lrscape.landscape.ranks import OtherRankFailedError
from lrscape.schedulers import RunningAverage, ValleyLR, measure_segment


def train(rank, ranks):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = ValleyLR(optimizer, model, start=1e-2)
    data = torch.Generator().manual_seed(10 + rank)
    rates = []
    for _ in range(40):
        x, y = torch.randn(6, 4, generator=data), torch.randint(3, (6,), generator=data)
        scheduler.probe(lambda x=x, y=y: F.cross_entropy(model(x), y))
        optimizer.zero_grad()
        F.cross_entropy(wrapped(x), y).backward()
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates, [record.reason for record in scheduler.history], [p.detach() for p in model.parameters()]


def test_all_ranks_take_the_same_rates():
    first, second = run_ranks(train, 2)
    assert first[:2] == second[:2]
    assert "turn" in first[1]
    assert all(map(torch.equal, first[2], second[2]))


def segment(rank, ranks, fail):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = RunningAverage(model)
    with torch.no_grad():
        model.weight.fill_(3.0)

    def closure():
        if fail and rank == 1:
            raise KeyError("no such batch")
        return model.weight.sum() * (rank + 1)

    try:
        found = measure_segment(average, closure)
    except (KeyError, OtherRankFailedError) as error:
        return f"{type(error).__name__}: {error}"
    return found.loss, found.average_loss, found.height


def test_the_mean_over_ranks_is_measured():
    assert run_ranks(segment, 2, False) == [(4.5, 1.5, 3.0)] * 2


def test_a_failure_is_raised_on_all_ranks():
    first, second = run_ranks(segment, 2, True)
    assert first.startswith("OtherRankFailedError: rank 1")
    assert second == "KeyError: 'no such batch'"
