"""FSDP2: each rank moves its own shards, and training goes on as if nothing had been probed."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import nn

from lrscape.landscape import Directions, Objective, random_directions
from lrscape.landscape.closure import ClosureTask
from lrscape.landscape.inplace import evaluate_inplace
from lrscape.landscape.parameters import all_slots
from lrscape.landscape.provenance import at_rest

POINTS = np.array([[0.5, -0.3], [0.0, 0.4], [0.0, 0.0], [-0.2, 0.0]])
OPTIONS = {
    "filter": {"norm": "filter"},
    "match": {"norm": "filter", "bias": "match", "generator": "device"},
    "layer": {"norm": "layer", "bias": "match"},
    "orthogonal": {"norm": "none", "orthogonal": True},
}


class Net(nn.Module):
    """Tied weights, rows that do not divide evenly, one row only, grouped filters, a gain that stays whole."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 9)
        self.grouped = nn.ConvTranspose1d(9, 6, 3, groups=3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6), nn.Tanh()) for _ in range(2)
        )
        self.one = nn.Linear(6, 1)
        self.wide = nn.Linear(6, 8, bias=False)
        self.out = nn.Linear(8, 9, bias=False)
        self.gain = nn.Parameter(torch.full((4, 8), 0.9))
        self.head = nn.Linear(9, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, codes):
        x = self.grouped(self.embed(codes).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.out(self.wide(x + self.one(x)) * self.gain))


def plain():
    torch.manual_seed(3)
    return Net()


def sharded(ranks):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard

    model, mesh = plain(), init_device_mesh("cpu", (ranks,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(
        model, mesh=mesh, reshard_after_forward=False, ignored_params={model.gain},
        shard_placement_fn=lambda p: Shard(1) if p.shape == (8, 6) else None,
    )  # fmt: skip
    return model


def data(steps=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(11, (3, 4), generator=generator) for _ in range(steps)]


def loss_of(model, codes):
    return F.cross_entropy(model(codes).flatten(0, 1), codes.flatten())


def here(tensor):
    tensor = tensor.detach()
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def state(model):
    """What must not change: identities, bits, versions and layout, of the wrappers and of the shards."""

    def bits(tensor):
        return None if tensor is None else here(tensor).contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()

    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        "values": [(name, bits(t)) for name, t in tensors],
        "storage": [(name, id(t), here(t).data_ptr(), here(t).stride()) for name, t in tensors],
        "versions": [(t._version, t.detach()._version, here(t)._version) for _, t in tensors],
        "gradients": [(id(p.grad), bits(p.grad)) for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "random": [torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()],
    }


def changed(before, after):
    return {kind for kind in before if before[kind] != after[kind]}


def scan(model, codes, directions, **options):
    task = options.pop("task", None) or ClosureTask(lambda: loss_of(model, codes))
    slots = [slot for slot in all_slots(model) if slot.canonical in directions.tensors]
    return evaluate_inplace(model, task, slots, directions, POINTS, **options).results()[0][:, 0]


def directions_and_losses(rank, ranks, folder):
    model, codes = sharded(ranks), data()[0]
    reference = plain().eval()
    for name, options in OPTIONS.items():
        expected = random_directions(reference, 2, seed=5, **options)
        losses = scan(reference, codes, expected)
        assert len(np.unique(losses)) == len(POINTS)
        for memory in ("normal", "low"):
            made = random_directions(model, 2, seed=5, memory=memory, **options)
            assert list(made.tensors) == list(expected.tensors)
            for key, tensor in expected.tensors.items():
                spread = made.tensors[key]
                assert spread.shape == tensor.shape
                assert made.shape(key) == tuple(tensor.shape[1:])
                torch.testing.assert_close(whole(spread), tensor, rtol=1e-6, atol=1e-7)
                if key != "gain":
                    assert spread.placements[0].dim == (2 if key == "wide.weight" else 1)
            np.testing.assert_allclose(made.gram(), expected.gram(), rtol=1e-6, atol=1e-5)
            assert at_rest(made) == at_rest(expected)
            before = state(model)
            np.testing.assert_allclose(scan(model, codes, made), losses, rtol=1e-5)
            assert changed(before, state(model)) == set()
            path = folder / f"{name}-{memory}-{rank}.npz"
            made.save(path)
            loaded = Directions.load(path, model)
            np.testing.assert_allclose(scan(model, codes, loaded), losses, rtol=1e-5)
            np.testing.assert_allclose(scan(model, codes, made, memory="low"), losses, rtol=1e-5)
    batches = [(codes, 1.0) for codes in data(3)]
    objective = Objective(lambda net, batch: loss_of(net, batch[0]), batches)
    expected = random_directions(reference, 2)
    losses = scan(reference, codes, expected, task=objective)
    for memory in ("normal", "low"):
        made = random_directions(model, 2, memory=memory)
        np.testing.assert_allclose(scan(model, codes, made, task=objective), losses, rtol=1e-5)
    return losses, made.gram()


def train(model, rank, probe, steps=5):
    """Train on each rank's own batches, probing between all parts of a step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=False)
    made = {}
    for step, codes in enumerate(data(steps, seed=rank)):
        optimizer.zero_grad()
        if probe and step == 2:
            with torch.no_grad():
                loss_of(model, codes)  # leaves the root's parameters whole
            assert not hasattr(model.embed.weight, "to_local")
            made["whole"] = random_directions(model, 2, seed=1)
        elif probe and step == 0:
            made["first"] = random_directions(model, 2, seed=2, memory="low")  # before FSDP2 has seen a batch
        loss = loss_of(model, codes)
        if probe:
            for kind, directions in made.items():
                assert np.ptp(scan(model, codes, directions)) > 0, kind
            if step == 4:
                with pytest.raises(ZeroDivisionError):
                    scan(model, codes, made["whole"], task=ClosureTask(lambda: 1 / 0))
        loss.backward()
        if probe:
            scan(model, codes, made["first"])
            if step in {1, 3}:
                broken_off(model, codes, made["first"], deep=step == 3)
        optimizer.step()
        if probe and step % 2:
            scan(model, codes, made["first"])
    return [here(p).clone() for p in model.parameters()]


def broken_off(model, codes, directions, deep):
    """Fail in the middle of a forward pass, inside a block or after all of them."""
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 4:
            raise ZeroDivisionError

    hook = (model.blocks[1][0] if deep else model.head).register_forward_pre_hook(fail)
    before = state(model)
    with pytest.raises(ZeroDivisionError):
        scan(model, codes, directions)
    hook.remove()
    assert changed(before, state(model)) == set()


def training_goes_on(rank, ranks):
    expected = train(sharded(ranks), rank, probe=False)
    found = train(sharded(ranks), rank, probe=True)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


def everything(rank, ranks, folder):  # in one start of the processes, which takes as long as the rest
    training_goes_on(rank, ranks)
    return directions_and_losses(rank, ranks, folder)


def test_directions_and_losses_are_those_of_one_process_and_training_goes_on_bit_for_bit(tmp_path):
    (losses, gram), *others = run_ranks(everything, 2, tmp_path)
    for other_losses, other_gram in others:
        assert np.array_equal(other_gram, gram)
        np.testing.assert_allclose(other_losses, losses, rtol=1e-12)
