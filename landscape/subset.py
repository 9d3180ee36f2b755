"""The part of a batch that one rank probes on."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree

from .objective import batch_size
from .ranks import Ranks

Batch = TypeVar("Batch")


def subset(batch: Batch, examples: int, ranks: Ranks | None = None) -> Batch:
    """Take the first examples of a batch, so many that all ranks together have the number asked for.

    Each of R ranks takes ⌈examples/R⌉ of its own batch: whatever the number of ranks, a probe sees as many examples,
    and the more ranks there are, the fewer each of them computes. Ranks need not wait for each other.

    Args:
        batch: Any pytree of tensors, e.g. (x, y) or a dict. Cut along the first dimension are the tensors that are as
            long there as the first one; everything else stays.
        examples: How many on all ranks together. A rank with a shorter batch takes all of it.
        ranks: Those that share; all, by default.

    Returns:
        The same structure; tensors are views.

    Raises:
        ValueError: If there would be no example.

    Example:
        >>> import torch
        >>> x, mask = subset((torch.zeros(8, 3), torch.ones(3, 3)), 5)
        >>> tuple(x.shape), tuple(mask.shape)
        ((5, 3), (3, 3))
    """
    if not isinstance(examples, int) or isinstance(examples, bool) or examples < 1:
        raise ValueError(f"subset must be a whole number of at least 1 example, got {examples!r}")
    length = batch_size(batch)
    share = -(-examples // (Ranks() if ranks is None else ranks).size)
    if share >= length:
        return batch

    def cut(leaf: object) -> object:
        return leaf[:share] if isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == length else leaf

    made: Batch = pytree.tree_map(cut, batch)
    return made
