"""Two tasks on one trunk, for what weighs tasks: one with wrong labels beside one without, or two of unlike scale."""

from __future__ import annotations

from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrscape.cli.digits import digits

from .digits import TRAIN
from .workload import Data, Workload, shuffled, whole

CLASSES, GROUPS, PIXELS, WIDTH = 10, 5, 64, 128
NOISE = 0.6  # share of the groups that are drawn at random
ARMS = ("constant", "cosine", "nger", "nger-published")


class TwoHeads(nn.Module):
    """A trunk of two hidden layers, and the heads of both tasks side by side in one linear layer.

    Args:
        outputs: Of both heads together; the first ten are those of the classes.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(PIXELS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Give the heads' outputs (N, outputs)."""
        found: Tensor = self.head(self.trunk(x))
        return found


def parts(second: Tensor, second_test: Tensor, wrong: Tensor | None = None) -> Data:
    """Put a second target beside the digits' classes and cut them as the other digits are cut.

    Args:
        second: Targets of the second task, (1198, K).
        second_test: Those of the test part, (599, K).
        wrong: What the second task is trained on instead.

    Returns:
        Data with targets (N, 1 + K).
    """
    images = digits()
    x = images.x.flatten(1)
    right = torch.cat([images.y[:, None], second], 1)
    told = right if wrong is None else torch.cat([images.y[:, None], wrong], 1)
    return Data(
        partial(shuffled, x[:TRAIN], told[:TRAIN]),
        whole(x[TRAIN:], right[TRAIN:]),
        whole(images.x_test.flatten(1), torch.cat([images.y_test[:, None], second_test], 1)),
    )


@cache
def with_groups(seed: int) -> Data:
    """Ask for the class modulo five, too: groups of two classes, most of them wrong in training."""
    images, stream = digits(), torch.Generator().manual_seed(seed)
    groups = images.y % GROUPS
    drawn = torch.where(
        torch.rand(len(groups), generator=stream) < NOISE,
        torch.randint(GROUPS, groups.shape, generator=stream),
        groups,
    )
    return parts(groups[:, None], images.y_test[:, None] % GROUPS, drawn[:, None])


@cache
def with_pixels(_seed: int) -> Data:
    """Ask for the image itself, too."""
    images = digits()
    return parts(images.x.flatten(1), images.x_test.flatten(1))


def of_groups(output: Tensor, target: Tensor) -> list[Tensor]:
    """Compute the cross-entropies of classes and of groups, (N,) each."""
    pairs = zip(torch.split(output, [CLASSES, GROUPS], 1), target.unbind(1), strict=True)
    return [F.cross_entropy(logits, wanted, reduction="none") for logits, wanted in pairs]


def of_pixels(output: Tensor, target: Tensor) -> list[Tensor]:
    """Compute the cross-entropies of classes and the mean squared errors of images, (N,) each."""
    logits, drawn = torch.split(output, [CLASSES, PIXELS], 1)
    classes, image = target[:, 0].long(), target[:, 1:]
    return [F.cross_entropy(logits, classes, reduction="none"), (drawn - image).square().mean(1)]


def classes(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Give the logits of the ten classes, and the labels."""
    return output[:, :CLASSES], target[:, 0].long()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Compute the share of right classes; the second task does not count."""
    logits, labels = classes(output, target)
    return (logits.argmax(1) == labels).double().mean()


def tasks(name: str, description: str, second: str) -> Workload:
    """Describe a workload of two tasks, whose loss is the mean of theirs."""
    each, data, outputs = {"groups": (of_groups, with_groups, GROUPS), "pixels": (of_pixels, with_pixels, PIXELS)}[
        second
    ]
    return Workload(
        name,
        description,
        data,
        partial(TwoHeads, CLASSES + outputs),
        steps=480,
        batch=64,
        centre=4e-3,
        loss=lambda output, target: torch.stack(each(output, target)).mean(),
        accuracy=accuracy,
        examples=lambda output, target: torch.stack(each(output, target)).mean(0),
        classes=classes,
        tasks=lambda output, target: [losses.mean() for losses in each(output, target)],
        only=ARMS,
        seconds=0.7,
    )


GROUPED = tasks("tasks-noise", "MLP for digits and five groups of them, 60 % of the groups drawn at random", "groups")
REDRAWN = tasks("tasks-scale", "the same MLP for digits and their images", "pixels")
