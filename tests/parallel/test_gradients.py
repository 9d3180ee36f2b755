"""The gradient over ranks is that of all their data, and so is the Hessian where FSDP2 has spread the parameters."""

import numpy as np
import pytest
import torch
from loops import batch_of, network
from ranks import run_ranks
from torch import nn

from lrscape.landscape import (
    Objective,
    evaluate,
    fisher,
    gradient_direction,
    hessian,
    line,
    preconditioned_sharpness,
    top_eigenvalues,
)
from lrscape.landscape.ranks import OtherRankFailedError

SIZES = [3, 7]  # ranks have different numbers of examples


def squared(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean()


def own_batches(rank):
    """Two batches of each rank's own."""
    return [batch_of(step, rank=rank, examples=SIZES[rank % 2] + step) for step in range(2)]


def spread(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def gradients(rank, ranks, sharded):
    model = spread(network()) if sharded else network()
    before = [whole(p.detach()).clone() for p in model.parameters()]
    objective = Objective(squared, own_batches(rank))
    found = gradient_direction(model, objective)
    unit = gradient_direction(model, objective, norm="unit")
    losses = evaluate(model, objective, unit, line(3, span=1e-3), share="data").losses
    batch = batch_of(0, rank=rank)
    closed = gradient_direction(model, lambda: squared(model, batch))
    assert all(p.grad is None for p in model.parameters())
    assert all(map(torch.equal, before, [whole(p.detach()) for p in model.parameters()]))
    alone = None if sharded else gradient_direction(model, objective, share="none").details
    if sharded:
        for options, match in (({"norm": "filter"}, "norm='filter' needs whole"), ({"share": "none"}, "share='none'")):
            with pytest.raises(ValueError, match=match):
                gradient_direction(model, objective, **options)
    flat = [torch.cat([whole(t).flatten() for t in each.tensors.values()]) for each in (found, closed)]
    return *flat, found.details, alone, losses


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "FSDP2"])
def test_the_gradient_is_that_of_all_data(sharded):
    (first, closed, details, alone, losses), other = run_ranks(gradients, 2, sharded)
    assert torch.equal(first, other[0])  # bit for bit
    assert torch.equal(closed, other[1])
    model = network()
    batches = own_batches(0) + own_batches(1)
    expected = gradient_direction(model, Objective(squared, batches))
    flat = torch.cat([t.flatten() for t in expected.tensors.values()])
    torch.testing.assert_close(first, flat, rtol=1e-12, atol=1e-12)
    assert details["loss"] == pytest.approx(expected.details["loss"], rel=1e-12)
    assert details["gradient_norm"] == pytest.approx(expected.details["gradient_norm"], rel=1e-12)
    assert (losses[2] - losses[0]) / 2e-3 == pytest.approx(details["gradient_norm"], rel=1e-5)
    one = torch.autograd.grad(
        sum(squared(model, batch_of(0, rank=rank)) for rank in range(2)) / 2, list(model.parameters())
    )
    torch.testing.assert_close(closed, torch.cat([g.flatten() for g in one]), rtol=1e-12, atol=1e-12)
    if not sharded:
        own = gradient_direction(model, Objective(squared, own_batches(0)))
        assert alone["loss"] == pytest.approx(own.details["loss"], rel=1e-12)


def failing(rank, ranks):
    model = network()

    def closure():
        if rank == 1:
            raise KeyError("no such batch")
        return squared(model, batch_of(0))

    with pytest.raises((KeyError, OtherRankFailedError)) as caught:
        gradient_direction(model, closure)
    return caught.type.__name__


def test_a_failure_is_raised_on_all_ranks():
    assert run_ranks(failing, 2) == ["OtherRankFailedError", "KeyError"]


def curvature(rank, ranks):
    model = spread(network())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, foreach=False)
    batch = batch_of(0, rank=rank)
    squared(model, batch).backward()
    optimizer.step()
    kept = [p.grad for p in model.parameters()]
    values = [p.to_local().clone() for p in model.parameters()]
    versions = [p.to_local()._version for p in model.parameters()]
    with torch.no_grad():
        squared(model, batch)  # FSDP2 keeps the root's parameters whole from here on
    stream = torch.Generator().manual_seed(3)
    vectors = torch.randn(2, 21, generator=stream, dtype=torch.float64)
    with hessian(model, lambda: squared(model, batch)) as operator:
        products, gradient = operator.matmat(vectors), operator.gradient()
        block = operator.block(["2.weight"]).matmat(vectors[:, :4])
    top = top_eigenvalues(model, lambda: squared(model, batch), 2)
    streamed = top_eigenvalues(model, Objective(squared, own_batches(rank)), 1)
    sharp = preconditioned_sharpness(model, lambda: squared(model, batch), optimizer)
    model.reshard()
    assert all(a is b for a, b in zip(kept, [p.grad for p in model.parameters()], strict=True))
    assert all(map(torch.equal, values, [p.to_local() for p in model.parameters()]))
    assert versions == [p.to_local()._version for p in model.parameters()]
    for mode in ("reverse", "forward"):
        with pytest.raises(ValueError, match="use mode='difference'"):
            top_eigenvalues(model, lambda: squared(model, batch), 1, mode=mode)
    with pytest.raises(ValueError, match="spread over ranks"), fisher(model, lambda: model(batch[0]).flatten()):
        pass
    weights = [whole(p.detach()) for p in model.parameters()]
    return products, gradient, block, top.eigenvalues, streamed.eigenvalues, sharp.sharpness, weights


def test_products_under_fsdp2_are_those_of_one_process():
    found, other = run_ranks(curvature, 2)
    products, gradient, block, top, streamed, sharp, weights = found
    for mine, its in zip(found[:3], other[:3], strict=True):
        assert torch.equal(mine, its)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, foreach=False)
    both = [batch_of(0, rank=rank) for rank in range(2)]

    def closure():
        return sum(squared(model, batch) for batch in both) / 2

    closure().backward()
    optimizer.step()
    for mine, its in zip(weights, model.parameters(), strict=True):
        torch.testing.assert_close(mine, its.detach(), rtol=1e-12, atol=1e-12)
    stream = torch.Generator().manual_seed(3)
    vectors = torch.randn(2, 21, generator=stream, dtype=torch.float64)
    with hessian(model, closure) as operator:
        expected, slope = operator.matmat(vectors), operator.gradient()
        part = operator.block(["2.weight"]).matmat(vectors[:, :4])
    scale = float(expected.abs().max())
    torch.testing.assert_close(products, expected, rtol=1e-6, atol=1e-6 * scale)
    torch.testing.assert_close(block, part, rtol=1e-6, atol=1e-6 * scale)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(top, top_eigenvalues(model, closure, 2).eigenvalues, rtol=1e-5)
    batches = Objective(squared, own_batches(0) + own_batches(1))
    np.testing.assert_allclose(streamed, top_eigenvalues(model, batches, 1).eigenvalues, rtol=1e-5)
    assert sharp == pytest.approx(preconditioned_sharpness(model, closure, optimizer).sharpness, rel=1e-4)


def interleaved(rank, ranks, probes, accumulate):
    """Curvature between forward and backward, and while gradients are accumulated without reducing them."""
    model = spread(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003)
    for step in range(5):
        optimizer.zero_grad()
        for half in range(2 if accumulate else 1):
            batch = batch_of(10 * step + half, rank=rank)
            model.set_requires_gradient_sync(not accumulate or half == 1)
            loss = squared(model, batch)
            if probes:
                top_eigenvalues(model, lambda batch=batch: squared(model, batch), 1)
            loss.backward()
            if probes:
                gradient_direction(model, lambda batch=batch: squared(model, batch))
        optimizer.step()
    return [whole(p.detach()) for p in model.parameters()]


def compared(rank, ranks, accumulate):
    plain, probed = (interleaved(rank, ranks, probes, accumulate) for probes in (False, True))
    return all(map(torch.equal, plain, probed))


@pytest.mark.parametrize("accumulate", [False, True])
def test_training_under_fsdp2_goes_on_bit_for_bit(accumulate):
    assert run_ranks(compared, 2, accumulate) == [True, True]


def refused(rank, ranks):
    model = spread(network())
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(ValueError, match="register_post_accumulate_grad_hook"):
        top_eigenvalues(model, lambda: squared(model, batch_of(0)), 1)
    rows = nn.Linear(4, 2)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    rows.weight = nn.Parameter(distribute_tensor(rows.weight.detach(), init_device_mesh("cpu", (ranks,)), [Shard(0)]))
    with pytest.raises(ValueError, match="not by fully_shard"):
        top_eigenvalues(rows, lambda: rows.weight.to_local().sum(), 1)


def test_what_cannot_be_measured_says_so():
    run_ranks(refused, 2)
