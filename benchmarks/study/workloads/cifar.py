"""CIFAR-10 and CIFAR-100 with CifarNet, from files that the user already has.

The setting of Peng, "TopoAdamW" (2026 draft): three blocks 3-32-64-128 and two linear layers 2048-512-10 (1,147,914
parameters), batches of 128, 50 epochs, AdamW with weight decay 5e-4, random crops and flips. Differences in the study:
5,000 of the 50,000 training images are kept for tuning, so an epoch is 352 batches instead of 391, and the rate is
tuned. The paper's table is made without them, see ``lrscape.benchmarks.study.table_one``.
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

IMAGES, HELD_OUT = 50_000, 0.1  # for training, and the share of them that is kept for tuning
BATCH, EPOCHS = 128, 50
PADDING = 4
FILES = {
    10: ([f"data_batch_{number}" for number in range(1, 6)], "test_batch", b"labels"),
    100: (["train"], "test", b"fine_labels"),
}


def present(data: Path, classes: int) -> tuple[Path, list[str], list[str]]:
    """Look for the files of the Python version.

    Args:
        data: The folder that holds them, or the one that holds the folder they unpack to.
        classes: 10 or 100.

    Returns:
        The one of the two folders that has more of them, by default the second; the names found there, and the others.
    """
    training, testing, _ = FILES[classes]
    names = [*training, testing]
    places = (data / ("cifar-10-batches-py" if classes == 10 else "cifar-100-python"), data)
    place = max(places, key=lambda place: sum((place / name).is_file() for name in names))
    found = [name for name in names if (place / name).is_file()]
    return place, found, [name for name in names if name not in found]


def folder(data: Path, classes: int) -> Path | None:
    """Find the files of the Python version.

    Args:
        data: The folder that holds them, or the one that holds the folder they unpack to.
        classes: 10 or 100.

    Returns:
        Where the files are, or None if they are not all there.
    """
    place, _, lacking = present(data, classes)
    return None if lacking else place


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
def load(
    data: Path,
    classes: int,
    device: str,
    held_out: float = HELD_OUT,
    limit: int | None = None,
    order: Callable[..., Iterator[Batch]] = shuffled,
) -> Data:
    """Read the images, standardise them by the training part, and shuffle once and for all.

    Args:
        data: A folder.
        classes: 10 or 100.
        device: Where to put them.
        held_out: Share of the training images that is kept for tuning.
        limit: Use only so many images for training, and as many for testing, the first of the files.
        order: How to go through the training images: :func:`.workload.shuffled` or :func:`.workload.by_epoch`.

    Returns:
        The data; nothing for validation if nothing is held out.

    Raises:
        FileNotFoundError: If the files are not there.
    """
    training, testing, key = FILES[classes]
    place, _, lacking = present(data, classes)
    if lacking:
        raise FileNotFoundError(
            f"CIFAR-{classes} is not complete: {', '.join(lacking)} missing in {place}; unpack its Python version there"
        )
    pieces = [images(place / name, key) for name in training]
    x, y = (torch.cat(part)[:limit] for part in zip(*pieces, strict=True))
    x_test, y_test = (part[:limit] for part in images(place / testing, key))
    permutation = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[permutation], y[permutation]
    cut = len(y) - round(held_out * len(y))
    mean, std = x[:cut].mean((0, 2, 3), keepdim=True), x[:cut].std((0, 2, 3), keepdim=True)
    x, x_test = ((pixels - mean) / std for pixels in (x, x_test))
    x, y, x_test, y_test = (part.to(device) for part in (x, y, x_test, y_test))
    batches: Callable[[int, torch.Generator], Iterator[Batch]] = partial(order, x[:cut], y[:cut], augment=augment)
    return Data(batches, whole(x[cut:], y[cut:]) if cut < len(y) else [], whole(x_test, y_test))


def training_images(data: Path, classes: int) -> int:
    """Count the images for training; the files are there.

    Args:
        data: A folder.
        classes: 10 or 100.

    Returns:
        How many; 50,000 in the real ones.
    """
    training, _, key = FILES[classes]
    place, _, _ = present(data, classes)
    return sum(len(read(place / name)[key]) for name in training)


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
        steps=EPOCHS * -(-round((1 - HELD_OUT) * IMAGES) // BATCH),
        batch=BATCH,
        centre=1e-3,
        weight_decay=5e-4,
        device=device,
    )
