"""Probes in several real processes: the same numbers as in one, on every rank, and failures that all hear of."""

import numpy as np
import pytest
import torch
from examples import MODELS, loss_of
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
from traces import state

from lrscape.landscape import Objective, evaluate, grid, random_directions
from lrscape.landscape.ranks import OtherRankFailedError

N = 3  # ranks


def examples(n=42):
    stream = torch.Generator().manual_seed(5)
    return TensorDataset(torch.randn(n, 4, generator=stream), torch.randint(3, (n,), generator=stream))


def tabular():
    torch.manual_seed(0)
    return MODELS["tabular"]()[0]


def probed(loader, function=loss_of, model=None, points=5, **options):
    model = tabular() if model is None else model
    before = state(model)
    surface = evaluate(model, Objective(function, loader), random_directions(model, 2), grid(points), **options)
    assert state(model) == before
    return surface.losses, surface.standard_error, surface.provenance


def sharing(rank, ranks, engine, share):
    torch.manual_seed(rank)  # ranks differ in their random state, not in what they read
    return probed(DataLoader(examples(), batch_size=6, shuffle=True), engine=engine, share=share, chunk=4)


@pytest.mark.parametrize("engine", ["inplace", "batched", "auto"])
@pytest.mark.parametrize("share", ["auto", "points", "batches"])
def test_points_or_batches_are_shared_and_the_surface_is_the_same_everywhere(engine, share):
    torch.manual_seed(0)
    alone = probed(DataLoader(examples(), batch_size=6, shuffle=True), engine=engine, chunk=4)
    found = run_ranks(sharing, N, engine, share)
    for losses, errors, origin in found:
        np.testing.assert_allclose(losses, alone[0], rtol=1e-6)
        np.testing.assert_allclose(errors, alone[1], rtol=1e-5)
        assert np.array_equal(losses, found[0][0])
        assert (origin["ranks"], origin["share"]) == (N, "points" if share == "auto" else share)
    if share != "batches" and engine != "auto":
        assert np.array_equal(found[0][0], alone[0])  # bit for bit: the same engine and chunk


def counted(rank, ranks, share, batches):
    calls = []

    def loss(model, batch):
        calls.append(1)
        return loss_of(model, batch)

    loader = [examples().tensors] * batches
    losses, _, _ = probed(loader, loss, engine="inplace", share=share)
    return len(calls), losses


@pytest.mark.parametrize(("share", "batches", "most"), [("points", 4, 9 * 4), ("batches", 4, 25 * 2)])
def test_the_work_falls_with_the_number_of_ranks(share, batches, most):
    found = run_ranks(counted, N, share, batches)
    assert max(calls for calls, _ in found) <= most  # of 25 points on 4 batches
    np.testing.assert_allclose(found[0][1], probed([examples().tensors])[0], rtol=1e-6)


def fewer_batches_than_ranks(rank, ranks):
    return probed([examples().tensors], share="batches", engine="inplace")


def test_fewer_batches_than_ranks():
    alone = probed([examples().tensors])
    for losses, errors, _ in run_ranks(fewer_batches_than_ranks, N):
        np.testing.assert_allclose(losses, alone[0], rtol=1e-6)
        assert errors is None  # one batch, however many ranks


def sampled(rank, ranks, explicit):
    data = examples()
    sampler = DistributedSampler(data, shuffle=False)
    share = "data" if explicit else "auto"
    return probed(DataLoader(data, batch_size=7, sampler=sampler), engine="inplace", share=share)


def own_lists(rank, ranks):
    data = examples().tensors
    return probed([tuple(t[rank::ranks] for t in data)], engine="inplace")


def test_a_distributed_sampler_means_that_every_rank_has_its_own_data():
    alone = probed([examples().tensors])[0]
    for explicit in (False, True):
        for losses, errors, origin in run_ranks(sampled, N, explicit):
            np.testing.assert_allclose(losses, alone, rtol=1e-6)
            assert origin["share"] == "data"
            assert errors is not None


def test_different_first_batches_mean_it_too():
    alone = probed([examples().tensors])[0]
    for losses, _, origin in run_ranks(own_lists, N):
        np.testing.assert_allclose(losses, alone, rtol=1e-6)
        assert origin["share"] == "data"


def averaged(rank, ranks):
    model, (x, y) = tabular(), examples().tensors
    before = state(model)
    surface = evaluate(
        model, lambda: loss_of(model, (x[rank::ranks], y[rank::ranks])), random_directions(model, 2), grid(5)
    )
    assert state(model) == before
    alone = evaluate(
        model, lambda: loss_of(model, (x[rank::ranks], y[rank::ranks])), random_directions(model, 2), grid(5),
        share="none",
    )  # fmt: skip
    return surface.losses, alone.losses


def test_closures_are_averaged_in_float64_and_all_ranks_see_the_same_bits():
    found = run_ranks(averaged, N)
    mean = np.mean([own for _, own in found], axis=0)
    for losses, own in found:
        np.testing.assert_allclose(losses, mean, rtol=1e-14)
        assert np.array_equal(losses, found[0][0])
        assert not np.allclose(own, losses, rtol=1e-3)


def wrapped(rank, ranks, closure):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model = DistributedDataParallel(inner)
    x, y = (t[rank::ranks] for t in examples().tensors)
    with torch.no_grad():
        inner[1].running_mean += rank  # DDP's forward would overwrite this with rank 0's
    before = state(inner)
    directions = random_directions(inner if closure else model, 2)
    if closure:
        found = evaluate(model, lambda: loss_of(model, (x, y)), directions, grid(3))
    else:
        found = evaluate(model, Objective(loss_of, [examples().tensors]), directions, grid(3))
    assert state(inner) == before
    loss_of(model, (x, y)).backward()  # training goes on
    return found.losses, all(p.grad is not None for p in inner.parameters())


@pytest.mark.parametrize("closure", [False, True])
def test_ddp(closure):
    found = run_ranks(wrapped, 2, closure)
    assert np.array_equal(found[0][0], found[1][0])
    assert all(trained for _, trained in found)


def failing(rank, ranks, at, share):
    calls = iter(range(1000))

    def loss(model, batch):
        if rank == 1 and next(calls) == at:
            raise ArithmeticError("on one rank only")
        return loss_of(model, batch)

    try:
        probed([examples().tensors] * 3, loss, engine="inplace", share=share)
    except ArithmeticError as error:
        return "own", str(error)
    except OtherRankFailedError as error:
        return "other", str(error)
    return "none", ""


@pytest.mark.parametrize("share", ["points", "batches", "data"])
def test_a_failure_on_one_rank_is_raised_on_every_rank(share):
    first, second, third = run_ranks(failing, N, 4, share)
    assert second == ("own", "on one rank only")
    for kind, message in (first, third):
        assert kind == "other"
        assert "rank 1 could not evaluate its part" in message
        assert "ArithmeticError: on one rank only" in message


def resumed(rank, ranks, file, fail):
    calls = iter(range(1000))

    def loss(model, batch):
        if fail and rank == 1 and next(calls) == 40:
            raise ArithmeticError
        return loss_of(model, batch)

    loss.__qualname__ = loss.__module__ = "loss"
    torch.manual_seed(rank + 10 * fail)
    loader = DataLoader(examples(), batch_size=6, shuffle=True)
    from lrscape.landscape import scan_state

    scan_state.BETWEEN_SAVES, scan_state.SAVING = 0.0, 1e9
    if fail:
        with pytest.raises((ArithmeticError, OtherRankFailedError)):
            probed(loader, loss, engine="inplace", partial=file)
        return None
    return probed(loader, loss, engine="inplace", partial=file)


def test_a_scan_of_several_ranks_goes_on_where_it_stopped(tmp_path):
    file = str(tmp_path / "scan.partial")
    run_ranks(resumed, 2, file, True)
    (losses, _, origin), (other, _, _) = run_ranks(resumed, 2, file, False)
    assert origin["resumed"] > 0
    assert np.array_equal(losses, other)
    torch.manual_seed(10)  # rank 0's state at the start of the scan that failed decides for all
    alone = probed(DataLoader(examples(), batch_size=6, shuffle=True), engine="inplace")
    assert np.array_equal(losses, alone[0])


def refused(rank, ranks):
    model = tabular()
    with pytest.raises(ValueError, match="share='points' needs an Objective"):
        evaluate(model, lambda: model[0].weight.sum(), random_directions(model, 2), grid(3), share="points")


def test_a_closure_cannot_share_points():
    run_ranks(refused, 2)
