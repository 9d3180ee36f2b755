"""Models and generated batches of real shapes on which overhead is timed; contents do not matter for the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .study.workloads.cifar import cifar_net
from .text import CHARACTERS, CharTransformer

Batch = tuple[Tensor, Tensor]
CLASSES, SIDE, CONTEXT = 10, 32, 128


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut, projected where the shape changes (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x of shape (batch, channels, height, width)."""
        return F.relu(self.body(x) + self.shortcut(x))


def resnet18(classes: int = CLASSES) -> nn.Sequential:
    """Make ResNet-18 as it is used on images of 32×32: it begins with a 3×3 convolution and does not pool.

    Args:
        classes: How many outputs.

    Returns:
        A fresh model; with ten classes it has 11,173,962 parameters.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for width in (64, 128, 256, 512):
        for stride in (1 if width == 64 else 2, 1):
            layers.append(BasicBlock(before, width, stride))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class EncoderBlock(nn.Module):
    """A pre-norm encoder block around torch's attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norms[1](x))
        return out


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929); by default ViT-Tiny with patches of 4×4.

    Args:
        classes: How many outputs.
        patch: Side of a patch.
        width: Numbers per token.
        depth: Blocks.
        heads: Of the attention.
    """

    def __init__(
        self, classes: int = CLASSES, patch: int = 4, width: int = 192, depth: int = 12, heads: int = 3
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, (SIDE // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[EncoderBlock(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images of shape (batch, 3, 32, 32) to logits."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.position
        out: Tensor = self.head(self.norm(self.blocks(tokens)[:, 0]))
        return out


@dataclass(frozen=True)
class Subject:
    """A model to time on.

    Attributes:
        name: In tables.
        make: Makes a fresh model.
        draw: Makes a batch of so many examples.
        batch: Examples on a CPU.
        batch_on_gpu: Examples on a GPU, which smaller batches would leave idle.
        unit: What an example is.
    """

    name: str
    make: Callable[[], nn.Module]
    draw: Callable[[int], Batch]
    batch: int
    batch_on_gpu: int = 128
    unit: str = "images of 32×32"


def images(size: int) -> Batch:
    """Make a batch of images with labels."""
    return torch.randn(size, 3, SIDE, SIDE), torch.randint(CLASSES, (size,))


def characters(size: int) -> Batch:
    """Make a batch of texts with the characters that follow."""
    codes = torch.randint(len(CHARACTERS), (2, size, CONTEXT))
    return codes[0], codes[1]


def losses(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the cross-entropy of every single prediction.

    Args:
        model: Gives logits with the classes in the last dimension.
        batch: Inputs and classes.

    Returns:
        Losses, one per image or character.
    """
    logits = model(batch[0])
    return F.cross_entropy(logits.flatten(0, -2), batch[1].flatten(), reduction="none")


def loss(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the mean cross-entropy.

    Args:
        model: See :func:`losses`.
        batch: Likewise.

    Returns:
        A 0-d tensor.
    """
    return losses(model, batch).mean()


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("CifarNet", partial(cifar_net, CLASSES), images, 128),
        Subject("ResNet-18", resnet18, images, 32),
        Subject("ViT-Tiny", VisionTransformer, images, 32),
        Subject(
            "transformer", partial(CharTransformer, 320, 8, 5, CONTEXT), characters, 8, 32, f"texts of {CONTEXT} tokens"
        ),
    )
}
