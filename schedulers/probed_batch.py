"""The batch that a probe computes its loss on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from ..landscape.subset import subset as part_of


def on_batch(closure: Callable[..., Tensor], batch: Any, subset: int | None) -> Callable[[], Tensor]:
    """Make a closure without arguments of one that takes a batch.

    Args:
        closure: Returns the loss: of the batch that it is given if there is one, else of its own.
        batch: Any pytree of tensors, or None.
        subset: How many examples all ranks together probe on; all by default.

    Returns:
        The closure. The batch is cut when it is called first, so a probe that is not due costs nothing.

    Raises:
        ValueError: If there is a subset of no batch.

    Example:
        >>> import torch
        >>> on_batch(lambda x: x.sum(), torch.ones(8), 3)().item()
        3.0
    """
    if batch is None:
        if subset is not None:
            raise ValueError(
                f"subset={subset} needs the batch that it is taken from: probe(lambda batch: loss of it, batch, "
                f"subset={subset})"
            )
        return closure

    @cache
    def part() -> Any:
        return batch if subset is None else part_of(batch, subset)

    return lambda: closure(part())
