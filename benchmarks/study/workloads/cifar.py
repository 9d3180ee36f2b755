"""CIFAR-10 and CIFAR-100 with CifarNet, from files that the user already has.

The setting of Peng, "TopoAdamW" (2026 draft): three blocks 3-32-64-128 and two linear layers 2048-512-10 (1,147,914
parameters), batches of 128, 50 epochs, AdamW with weight decay 5e-4, random crops and flips. Differences: 5,000 of the
50,000 training images are kept for tuning, so an epoch is 352 batches instead of 391, and the rate is tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pickles import read
from .workload import Batch, Data, Workload, shuffled, whole

TRAIN, BATCH, EPOCHS = 45_000, 128, 50
PADDING = 4
FILES = {
    10: ([f"data_batch_{number}" for number in range(1, 6)], "test_batch", b"labels"),
    100: (["train"], "test", b"fine_labels"),
}


def folder(data: Path, classes: int) -> Path | None:
    """Find the files of the Python version.

    Args:
        data: The folder that holds them, or the one that holds the folder they unpack to.
        classes: 10 or 100.

    Returns:
        Where the files are, or None if they are not there.
    """
    name = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    return next((place for place in (data, data / name) if (place / FILES[classes][1]).exists()), None)


def images(path: Path, key: bytes) -> tuple[Tensor, Tensor]:
    """Read one file: images (n, 3, 32, 32) in [0, 1] and labels."""
    found = read(path)
    pixels = torch.from_numpy(np.asarray(found[b"data"], dtype=np.uint8)).reshape(-1, 3, 32, 32)
    return pixels.float() / 255, torch.tensor(np.asarray(found[key]), dtype=torch.long)


def augment(x: Tensor, stream: torch.Generator) -> Tensor:
    """Flip half of the images, and cut each out of its padded self at a random place."""
    size = len(x)
    flip = (torch.rand(size, generator=stream) < 0.5).to(x.device)
    x = torch.where(flip[:, None, None, None], x.flip(-1), x)
    padded = F.pad(x, (PADDING,) * 4)
    row, column = torch.randint(2 * PADDING + 1, (2, size), generator=stream).to(x.device)
    span = torch.arange(x.shape[-1], device=x.device)
    rows, columns = (row[:, None] + span)[:, None, :, None], (column[:, None] + span)[:, None, None, :]
    which = torch.arange(size, device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return padded[which, channel, rows, columns]


@cache
def load(data: Path, classes: int, device: str) -> Data:
    """Read the images, standardise them by the training part, and shuffle once and for all.

    Args:
        data: A folder.
        classes: 10 or 100.
        device: Where to put them.

    Returns:
        The data.

    Raises:
        FileNotFoundError: If the files are not there.
    """
    training, testing, key = FILES[classes]
    place = folder(data, classes)
    if place is None:
        raise FileNotFoundError(f"no CIFAR-{classes} in {data}: unpack its Python version there")
    pieces = [images(place / name, key) for name in training]
    x, y = (torch.cat(part) for part in zip(*pieces, strict=True))
    x_test, y_test = images(place / testing, key)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    cut = min(TRAIN, len(y) * 9 // 10)
    mean, std = x[:cut].mean((0, 2, 3), keepdim=True), x[:cut].std((0, 2, 3), keepdim=True)
    x, x_test = ((pixels - mean) / std for pixels in (x, x_test))
    x, y, x_test, y_test = (part.to(device) for part in (x, y, x_test, y_test))
    batches: Callable[[int, torch.Generator], Iterator[Batch]] = partial(shuffled, x[:cut], y[:cut], augment=augment)
    return Data(batches, whole(x[cut:], y[cut:]), whole(x_test, y_test))


def cifar_net(classes: int) -> nn.Sequential:
    """Make CifarNet.

    Args:
        classes: How many outputs.

    Returns:
        A fresh model; with ten classes it has 1,147,914 parameters.
    """
    blocks: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, classes))


def workload(data: Path, classes: int, device: str = "cpu") -> Workload:
    """Describe CIFAR in a folder.

    Args:
        data: The folder.
        classes: 10 or 100.
        device: Where to train.

    Returns:
        The workload; its files are read when it is used.
    """
    return Workload(
        f"cifar{classes}",
        f"CifarNet on CIFAR-{classes}",
        lambda _seed: load(data, classes, device),
        partial(cifar_net, classes),
        steps=EPOCHS * -(-TRAIN // BATCH),
        batch=BATCH,
        centre=1e-3,
        weight_decay=5e-4,
        device=device,
    )
