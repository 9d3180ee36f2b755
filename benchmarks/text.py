"""A character-level language model on text that every machine has: the Python standard library's source."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))


def standard_library(characters: int = 4_000_000) -> tuple[Tensor, Tensor]:
    """Read the standard library's source.

    Args:
        characters: How much of it, in the order of the file names.

    Returns:
        Codes of the first nine tenths (training) and of the rest (validation).
    """
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = "".join(path.read_text(encoding="utf-8", errors="ignore") for path in files)[:characters]
    code = {character: i for i, character in enumerate(CHARACTERS)}
    codes = torch.tensor([code[character] for character in text if character in code])
    cut = len(codes) * 9 // 10
    return codes[:cut], codes[cut:]


class Block(nn.Module):
    """A pre-norm transformer block with torch's default attention kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        b, t, w = x.shape
        q, k, v = self.qkv(self.norms[0](x)).reshape(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(b, t, w))
        out: Tensor = x + self.mlp(self.norms[1](x))
        return out


class CharTransformer(nn.Module):
    """A small causal transformer over characters."""

    def __init__(self, width: int = 64, layers: int = 2, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.context = context
        self.token = nn.Embedding(len(CHARACTERS), width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CHARACTERS), bias=False)
        for table in (self.token, self.position):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes of shape (batch, time) to logits of shape (batch, time, characters)."""
        positions = torch.arange(codes.shape[1], device=codes.device)
        out: Tensor = self.head(self.norm(self.blocks(self.token(codes) + self.position(positions))))
        return out


def loss_on(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Compute the mean cross-entropy of the next character.

    Args:
        model: A character model.
        batch: Codes and the codes that follow.

    Returns:
        The loss in nats per character.
    """
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def sample(codes: Tensor, size: int, context: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a batch of windows.

    Args:
        codes: The text.
        size: Windows.
        context: Characters in each.
        stream: Random generator.

    Returns:
        Codes and the codes that follow, each of shape (size, context).
    """
    starts = torch.randint(len(codes) - context - 1, (size, 1), generator=stream)
    windows = codes[starts + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]
