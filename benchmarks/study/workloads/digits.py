"""Handwritten digits and a CNN with batch normalisation, with the right labels or a fifth of them wrong."""

from __future__ import annotations

from functools import cache, partial

from torch import Tensor

from lrscape.cli.digits import digits, model, noisy_labels

from .workload import Data, Workload, shuffled, whole

TRAIN = 898  # of the 1,198 images that are not for testing


def parts(labels: Tensor) -> Data:
    """Cut the digits: 898 images for training with the given labels, 300 for validation, 599 for testing."""
    images = digits()
    return Data(
        partial(shuffled, images.x[:TRAIN], labels[:TRAIN]),
        whole(images.x[TRAIN:], images.y[TRAIN:]),
        whole(images.x_test, images.y_test),
    )


@cache
def clean(_seed: int) -> Data:
    """Give the digits with their own labels, whatever the seed."""
    return parts(digits().y)


@cache
def noisy(seed: int) -> Data:
    """Give the digits with a fifth of the training labels wrong; validation and test stay right."""
    return parts(noisy_labels(seed))


DIGITS = Workload(
    "digits",
    "CNN with BatchNorm on handwritten digits",
    clean,
    model,
    steps=480,
    batch=64,
    seconds=1.7,
    centre=4e-3,
    batches={16: 1.0, 256: 1.0},
    developed_on=True,
)
NOISY = Workload(
    "digits-noise",
    "the same CNN, 20 % of the training labels wrong",
    noisy,
    model,
    steps=480,
    batch=64,
    seconds=1.7,
    centre=4e-3,
    batches={16: 1.0, 256: 1.0},
)
NOISY_SGD = Workload(
    "digits-noise-sgd",
    "the same with SGD, momentum .9",
    noisy,
    model,
    steps=480,
    batch=64,
    seconds=1.7,
    centre=1.6e-2,
    optimizer="sgd",
    weight_decay=0.0,
    batches={16: 1.0, 256: 1.0},
)
