"""Batches on their way to the model."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.landscape import Objective, evaluate, grid, random_directions
from lrscape.landscape.prefetch import place, prefetched


def test_only_images_change_their_layout():
    batch = {"x": torch.randn(2, 3, 4, 5), "codes": torch.ones(2, 3, 4, 5, dtype=torch.long), "y": [torch.ones(2), "a"]}
    moved = place(batch, torch.device("cpu"), channels_last=True)
    assert moved["x"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved["x"], batch["x"])
    assert moved["codes"] is batch["codes"]
    assert moved["y"][0] is batch["y"][0]
    assert moved["y"][1] == "a"
    assert batch["x"].is_contiguous()
    assert place(batch, torch.device("cpu"))["x"] is batch["x"]


@pytest.mark.parametrize("engine", ["inplace", "batched", "threads"])
def test_channels_last_changes_the_layout_and_not_the_loss(engine):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).double()
    seen = []

    def loss(m, batch):
        seen.append(batch.is_contiguous(memory_format=torch.channels_last))
        return m(batch).square().mean()

    data = [torch.randn(5, 3, 4, 4).double() for _ in range(2)]
    directions = random_directions(model, 2)
    plain = evaluate(model, Objective(loss, data), directions, grid(3), engine=engine)
    assert not any(seen)
    seen.clear()
    last = evaluate(model, Objective(loss, data, channels_last=True), directions, grid(3), engine=engine)
    assert all(seen)
    torch.testing.assert_close(torch.as_tensor(last.losses), torch.as_tensor(plain.losses), rtol=1e-12, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("pin", [False, True])
def test_batches_arrive_whole_and_in_order(pin):
    x = torch.arange(4_000_000.0).view(40, -1)
    loader = DataLoader(TensorDataset(x), batch_size=7, pin_memory=pin)
    for i, (batch,) in enumerate(prefetched(loader, torch.device("cuda"))):
        torch.cuda._sleep(10_000_000)  # the copy of the next batch overtakes this
        assert torch.equal(batch.cpu(), x[7 * i : 7 * i + 7])
