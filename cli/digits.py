"""The demo's data and model: handwritten digits that ship with scikit-learn, and a small CNN.

``model`` and ``data`` serve as factories:
``lrscape probe CKPT --model lrscape.cli.digits:model --data lrscape.cli.digits:data``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

NOISE = 0.2  # share of wrong training labels: without them every schedule ends above 98 % and there is nothing to see


class Digits(NamedTuple):
    """Images of shape (n, 1, 8, 8) in [0, 1] and labels, for training and testing."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


@cache
def digits() -> Digits:
    """Load the 1,797 images, two thirds for training, shuffled once and for all.

    Returns:
        1,198 training and 599 test images.
    """
    from sklearn.datasets import load_digits  # slow to import

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.tensor(images[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels[order], dtype=torch.long)
    cut = 2 * len(y) // 3
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:])


def model() -> nn.Sequential:
    """Make the CNN: two convolutions with batch normalisation and two linear layers.

    Returns:
        A fresh model with 18,394 parameters.

    Example:
        >>> sum(p.numel() for p in model().parameters())
        18394
    """
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def noisy_labels(seed: int = 0) -> Tensor:
    """Replace a fifth of the training labels by wrong ones.

    Args:
        seed: Of the choice.

    Returns:
        Labels of the training set.

    Example:
        >>> round(float((noisy_labels() != digits().y).float().mean()), 1)
        0.2
    """
    labels = digits().y
    stream = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=stream) < NOISE
    shift = torch.randint(1, 10, labels.shape, generator=stream)
    return torch.where(wrong, (labels + shift) % 10, labels)


def data(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Give the training set, wrong labels included, in batches.

    Args:
        seed: Of the wrong labels.

    Returns:
        Pairs of images and labels.
    """
    return list(zip(torch.split(digits().x, 600), torch.split(noisy_labels(seed), 600), strict=True))
