"""The demo's data and model: handwritten digits that ship with scikit-learn, and a small CNN.

Both functions serve as factories: ``lrscape probe CKPT --model lrscape.cli.digits:model --data lrscape.cli.digits:data``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


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
        A fresh model with 38,282 parameters.

    Example:
        >>> sum(p.numel() for p in model().parameters())
        38282
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def data() -> list[tuple[Tensor, Tensor]]:
    """Give the training set in batches.

    Returns:
        Pairs of images and labels.
    """
    found = digits()
    return list(zip(found.x.split(400), found.y.split(400), strict=True))
