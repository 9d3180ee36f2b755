"""TopoCNN: the small network that reads a persistence image and names the regime of the landscape; and its image."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..tda import corrected_image

PRETRAINED = "topocnn.pt"
CLASSES, POOL = 5, 4  # of the corrected network
CAP = 50.0  # a bowl that Eq. 4 calls very sharp rises by a factor of 34 on a 15×15 grid with span .12


@contextmanager
def private_init(seed: int) -> Iterator[None]:
    """Initialise modules on the CPU from a seed, leaving every random state as it was.

    Args:
        seed: What ``torch.manual_seed`` would be given; the numbers drawn are the same.

    Yields:
        None.
    """
    # torch.manual_seed would seed the accelerators as well, and fork_rng cannot take that back without waking them.
    generator = torch.default_generator
    before = generator.get_state()
    try:
        generator.manual_seed(seed)
        with torch.device("cpu"):
            yield
    finally:
        generator.set_state(before)


def regime_image(grid: ArrayLike) -> NDArray[np.float32]:
    """Draw a grid of losses as the corrected network sees it.

    √ of :func:`lrscape.tda.corrected_image` with its axes up to a ratio of 50. The published cap of 5 is reached by a
    bowl of sharpness .06, and everything sharper looks alike; the root lets a barrier of a tenth of the loss show
    beside a pair twenty times as long.

    Args:
        grid: Losses, shape (n, n) with n odd, finite.

    Returns:
        Shape (2, 50, 50), float32: H0 and H1.

    Example:
        >>> regime_image([[50, 50, 50], [50, 1, 50], [50, 50, 50]]).max().round(1)
        np.float32(1.0)
    """
    image: NDArray[np.float32] = np.sqrt(corrected_image(grid, cap=CAP))
    return image


class TopoCNN(nn.Module):
    """Map persistence images to logits of landscape regimes.

    Conv(2→16) ReLU MaxPool, Conv(16→32) ReLU MaxPool, Conv(32→64) ReLU, mean over each of pool × pool tiles,
    Linear(64·pool²→32) ReLU, Linear(32→classes); all convolutions are 3×3 with padding 1.

    With classes = 3 and pool = 1 it has 25,619 parameters and is the published network. One mean over the whole image
    makes that network nearly blind to *where* a point stands, which is all that a persistence image says of a single
    pair. The corrected form has 5 classes and pool = 4 (56,405 parameters).

    Source: Peng, "TopoAdamW", section 3.4 (2026 draft; code topoadamw 0.1.0).

    Args:
        classes: Number of regimes; see :mod:`lrscape.schedulers.topocnn_regimes`.
        pool: Tiles along each axis over which features are averaged.

    Raises:
        ValueError: If there are fewer than 2 classes or no tile.

    Example:
        >>> sum(parameter.numel() for parameter in TopoCNN().parameters())
        25619
        >>> TopoCNN()(torch.zeros(4, 2, 50, 50)).shape
        torch.Size([4, 3])
    """

    def __init__(self, classes: int = 3, pool: int = 1) -> None:
        if classes < 2 or pool < 1:
            raise ValueError(
                f"classes must be at least 2 and pool at least 1, got {classes} and {pool}; 3 and 1 are the published"
                " network"
            )
        super().__init__()
        self.classes = classes
        single = torch.float32  # whatever the user's default is: the images are float32
        self.features = nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1, dtype=single), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, dtype=single), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, dtype=single), nn.ReLU(), nn.AdaptiveAvgPool2d(pool),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * pool**2, 32, dtype=single),
            nn.ReLU(),
            nn.Linear(32, classes, dtype=single),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            images: Shape (batch, 2, height, width), 50×50 in use.

        Returns:
            Shape (batch, classes).
        """
        return cast("Tensor", self.classifier(self.features(images)))

    @classmethod
    def from_seed(cls, seed: int, classes: int = 3, pool: int = 1) -> TopoCNN:
        """Make a fresh network without touching any random state.

        Args:
            seed: The weights are those that torch gives after ``torch.manual_seed(seed)``.
            classes: Number of regimes.
            pool: Tiles along each axis.

        Returns:
            The network, on the CPU.
        """
        with private_init(seed):
            return cls(classes, pool)

    @classmethod
    def pretrained(cls) -> TopoCNN:
        """Load the five-class network that was trained on synthetic surfaces.

        Its images are those of :func:`regime_image`, its classes those of
        :data:`lrscape.schedulers.topocnn_regimes.CORRECTED`. ``benchmarks/pretrain_topocnn.py`` makes the weights
        from fixed seeds and measures how often they are right.

        Returns:
            The network, on the CPU, in evaluation mode.

        Example:
            >>> TopoCNN.pretrained()(torch.zeros(1, 2, 50, 50)).argmax().item()  # a constant surface is flat
            0
        """
        stored = resources.files(__package__).joinpath("pretrained", PRETRAINED).read_bytes()
        state = torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True)
        network = cls.from_seed(0, CLASSES, POOL)
        network.load_state_dict(state)
        return network.eval()
