"""Private random streams, one for each direction and parameter."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

Seed = int | tuple[int, ...]


def stream_seed(seed: Seed, index: int, name: str) -> int:
    """Derive the seed of one parameter's private random stream.

    The first eight bytes of SHA-256("seed/index/name"): no stream depends on the order, the number or the placement
    of the others, so the same seed gives the same direction on any device and under any sharding.

    Args:
        seed: The user's seed; a tuple is joined by colons.
        index: Number of the direction.
        name: Canonical name of the parameter.

    Returns:
        A number in [0, 2⁶³).

    Example:
        >>> stream_seed(0, 0, "weight") == stream_seed(0, 1, "weight")
        False
    """
    text = ":".join(map(str, seed)) if isinstance(seed, tuple) else str(seed)
    digest = hashlib.sha256(f"{text}/{index}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Stream:
    """Standard normal numbers of one direction and parameter, block by block.

    On the CPU, blocks of a multiple of 16 give bit for bit what one call for the whole tensor gives, whatever their
    size; on other devices the blocks are part of what the stream is. Always float32, so that a float32 and a float64
    copy of a model get the same direction.

    Args:
        seed: From :func:`stream_seed`.
        device: Where the numbers are drawn.

    Example:
        >>> one, two = (Stream(3, torch.device("cpu")) for _ in range(2))
        >>> both = torch.cat([one.fill(torch.empty(32)), one.fill(torch.empty(20))])
        >>> torch.equal(both, two.fill(torch.empty(52)))
        True
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator(device=device).manual_seed(seed)

    def fill(self, block: Tensor) -> Tensor:
        """Draw the next numbers.

        Args:
            block: Contiguous float32 tensor that is overwritten.

        Returns:
            The same tensor.
        """
        return block.normal_(generator=self._generator)
