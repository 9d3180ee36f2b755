"""One MLP for four of scikit-learn's bundled tables: three with classes, one with a number to predict."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .workload import Data, Workload, shuffled, whole

TABLES = {"breast_cancer": (30, 2), "wine": (13, 3), "iris": (4, 3), "diabetes": (10, 1)}  # columns, outputs
INPUTS, OUTPUTS = (sum(sizes) for sizes in zip(*TABLES.values(), strict=True))
CLASSES = OUTPUTS - 1  # the last output is the number
WIDTH, DROPOUT = 128, 0.5
Columns = NDArray[np.float64]


def examples(name: str, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Cut a table 50 : 20 : 30, standardise it by the first part, and give it columns of its own.

    A few outliers decide the loss on so few examples. So training and validation parts are drawn anew for each seed;
    the test part is the same for all.

    Args:
        name: One of TABLES.
        seed: Decides which of the examples that are not for testing are for training.

    Returns:
        Inputs of each part, zero in the other tables' columns, and targets: the class, counted over all tables, or the
        number beside it. Targets have two columns, class and number; a class of -1 says that there is none.
    """
    from sklearn import datasets  # slow to import

    load: Callable[..., tuple[Columns, Columns]] = getattr(datasets, f"load_{name}")
    values, answers = load(return_X_y=True)
    cuts = [len(answers) * 50 // 100, len(answers) * 70 // 100]
    order = np.random.default_rng(0).permutation(len(answers))
    order[: cuts[1]] = np.random.default_rng(seed).permutation(order[: cuts[1]])
    values, answers = values[order], answers[order].astype(float)
    place = list(TABLES).index(name)
    before = [sum(sizes[axis] for sizes in list(TABLES.values())[:place]) for axis in (0, 1)]
    wide = np.zeros((len(answers), INPUTS))
    first = values[: cuts[0]]
    wide[:, before[0] : before[0] + values.shape[1]] = (values - first.mean(0)) / first.std(0)
    if TABLES[name][1] > 1:
        targets = np.stack([answers + before[1], np.zeros_like(answers)], 1)
    else:
        known = answers[: cuts[0]]
        targets = np.stack([np.full_like(answers, -1), (answers - known.mean()) / known.std()], 1)
    inputs, outputs = (
        [torch.tensor(part, dtype=torch.float32) for part in np.split(array, cuts)] for array in (wide, targets)
    )
    return inputs, outputs


@cache
def tables(seed: int) -> Data:
    """Give the four tables in one."""
    found = [examples(name, seed) for name in TABLES]
    x, y = ([torch.cat([example[kind][part] for example in found]) for part in range(3)] for kind in range(2))
    return Data(partial(shuffled, x[0], y[0]), whole(x[1], y[1]), whole(x[2], y[2]))


def model() -> nn.Sequential:
    """Make the MLP: two hidden layers with dropout."""
    return nn.Sequential(
        nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(WIDTH, OUTPUTS),
    )  # fmt: skip


def loss(output: Tensor, target: Tensor) -> Tensor:
    """Average the cross-entropy where a class is asked for, and half the squared error where a number is."""
    label, number = target.unbind(1)
    classes = F.cross_entropy(output[:, :CLASSES], label.long(), ignore_index=-1, reduction="sum")
    numbers = F.mse_loss(output[:, CLASSES], number, reduction="none")[label < 0].sum() / 2
    return (classes + numbers) / len(target)


def one_by_one(output: Tensor, target: Tensor) -> Tensor:
    """Give the terms whose mean :func:`loss` is."""
    label, number = target.unbind(1)
    classes = F.cross_entropy(output[:, :CLASSES], label.long(), ignore_index=-1, reduction="none")
    numbers = F.mse_loss(output[:, CLASSES], number, reduction="none") / 2
    return torch.where(label < 0, numbers, classes)


def classes(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Give the logits of the classes, and the labels, -1 where a number is asked for."""
    return output[:, :CLASSES], target[:, 0].long()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Compute the share of right classes where a class is asked for."""
    label = target[:, 0]
    return (output[:, :CLASSES].argmax(1) == label).double()[label >= 0].mean()


TABULAR = Workload(
    "tabular",
    "MLP with dropout on the tables bundled with scikit-learn (breast cancer, wine, iris, diabetes)",
    tables,
    model,
    steps=480,
    batch=64,
    seconds=0.9,
    centre=2e-3,
    batches={16: 1.0, 256: 1.0},
    loss=loss,
    accuracy=accuracy,
    examples=one_by_one,
    classes=classes,
)
