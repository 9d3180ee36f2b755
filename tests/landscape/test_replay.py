"""Replays instead of forward passes; on a CPU, what records here writes to the same memory again as a graph does."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.landscape import Objective, evaluate, grid, random_directions
from lrscape.landscape.closure import ClosureTask
from lrscape.landscape.replay import Replay

CPU = torch.device("cpu")


def written(values, device):
    """Write what ``values`` computes to the same tensors again and again, as a CUDA graph does."""
    found = values()

    def again():
        for kept, new in zip(found, values(), strict=True):
            kept.copy_(new)

    return again, found


def frozen(values, device):
    """A graph that does not see that the weights have moved."""
    found = values()
    return lambda: None, found


def impossible(values, device):
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(11, 3, generator=generator), torch.randint(2, (11,), generator=generator)
    return list(zip(x.split(4), y.split(4), strict=True))  # the last batch is shorter


def walk(model, replay, task, plain):
    """Compare replayed with plain values at some points; return how often they were equal."""
    equal = []
    for unit in task.units(CPU):
        for step in range(4):
            with torch.no_grad():
                model[0].weight.add_(0.1 * step)
                equal.append(all(map(torch.equal, replay.values(model, unit), plain.values(model, unit))))
    return equal


def test_replays_give_the_bits_of_plain_runs(model, data):
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data)
    replay = Replay(task, CPU, written)
    assert all(walk(model, replay, task, task))
    assert replay.replays == 7  # the first point records; the shorter batch runs plainly


def test_what_is_returned_stays(model, data):
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data[:1])
    replay = Replay(task, CPU, written)
    with torch.no_grad():
        unit = next(task.units(CPU))
        values = []
        for _ in range(5):
            values.append(replay.values(model, unit)[0])
            model[0].weight.mul_(0.5)
    assert len({float(value) for value in values}) == 5


def test_a_closure_is_replayed(model, data):
    task = ClosureTask(lambda: F.cross_entropy(model(data[0][0]), data[0][1]))
    replay = Replay(task, CPU, written)
    assert all(walk(model, replay, task, task))
    assert replay.replays == 3


def test_batches_that_differ_beside_their_tensors_are_not_mixed_up(model, data):
    def loss(m, batch):
        return F.cross_entropy(m(batch["x"]) * batch["scale"], batch["y"])

    batches = [{"x": data[i][0], "y": data[i][1], "scale": scale} for i, scale in enumerate((1.0, 1.0, 2.0))]
    batches[2] |= {"x": data[0][0], "y": data[0][1]}
    task = Objective(loss, batches)
    replay = Replay(task, CPU, written)
    assert all(walk(model, replay, task, task))
    assert replay.replays == 7


@pytest.mark.parametrize(
    ("recorder", "reason"), [(frozen, "other values"), (impossible, "not permitted when stream is capturing")]
)
def test_what_cannot_be_replayed_runs_plainly(model, data, recorder, reason, caplog):
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data)
    replay = Replay(task, CPU, recorder)
    with caplog.at_level(logging.INFO, "lrscape"):
        assert all(walk(model, replay, task, task))
    assert replay.replays == 0
    assert [reason in record.getMessage() for record in caplog.records] == [True]


def test_random_numbers_are_not_replayed(model, data, caplog):
    noisy = nn.Sequential(*model, nn.Dropout(0.5))
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data[:1])
    replay = Replay(task, CPU, written)
    unit = next(task.units(CPU))
    with caplog.at_level(logging.INFO, "lrscape"), torch.no_grad():
        state = torch.get_rng_state()
        found = replay.values(noisy, unit)
        torch.set_rng_state(state)
        assert all(map(torch.equal, found, task.values(noisy, unit)))
        replay.values(noisy, unit)
    assert replay.replays == 0
    assert "draws random numbers" in caplog.text


def test_it_needs_a_gpu(model, data):
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data)
    with pytest.raises(ValueError, match="cuda_graph=True needs a model on an NVIDIA GPU, got one on cpu"):
        evaluate(model, task, random_directions(model, 2), grid(3), cuda_graph=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_graph_gives_what_plain_runs_give(model, data, autocast):
    model = model.cuda()
    task = Objective(lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), data)
    directions = random_directions(model, 2)
    plain = evaluate(model, task, directions, grid(5), engine="inplace", autocast=autocast)
    replayed = evaluate(model, task, directions, grid(5), engine="inplace", autocast=autocast, cuda_graph=True)
    assert (plain.losses == replayed.losses).all()
