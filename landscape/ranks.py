"""The processes of torch.distributed, as far as probes need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class OtherRankFailedError(RuntimeError):
    """Another process could not do its part."""


class Ranks:
    """This process among those that probe together; alone where torch.distributed is not in use.

    Args:
        together: Whether to use torch.distributed if it is initialised.
    """

    def __init__(self, together: bool = True) -> None:
        self._joined = together and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank = dist.get_rank() if self._joined else 0
        self.size = dist.get_world_size() if self._joined else 1

    @property
    def first(self) -> bool:
        """Whether this rank decides and writes."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Collect one value from every rank, on every rank.

        Args:
            value: Anything that can be pickled.

        Returns:
            The values, by rank.
        """
        if not self._joined:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return cast("list[T]", values)

    def broadcast(self, value: T) -> T:
        """Give every rank what rank 0 has.

        Args:
            value: Anything that can be pickled; only rank 0's counts.

        Returns:
            Rank 0's.
        """
        if not self._joined:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        return cast("T", box[0])

    def summed(self, tensor: Tensor) -> Tensor:
        """Add up tensors of one shape.

        Args:
            tensor: This rank's.

        Returns:
            The sum over ranks, the same bits on every rank; alone the tensor itself.
        """
        if not self._joined:
            return tensor
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def of_first(self, tensor: Tensor) -> Tensor:
        """Give every rank rank 0's tensor.

        Args:
            tensor: Of the same shape on every rank; only rank 0's counts.

        Returns:
            Rank 0's; alone the tensor itself.
        """
        if not self._joined:
            return tensor
        copied = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.broadcast(copied, src=0)
        return copied

    def agree(self, error: BaseException | None) -> None:
        """Raise on every rank if one of them failed.

        Args:
            error: This rank's failure, if any; it is raised as it is.

        Raises:
            OtherRankFailedError: If another rank failed; the message says which and why.
        """
        texts = self.gather(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        for rank, text in enumerate(texts):
            if text is not None:
                raise OtherRankFailedError(
                    f"rank {rank} could not evaluate its part, so this rank stops as well ({text})"
                )

    def jointly(self, work: Callable[[], T]) -> T:
        """Do this rank's part, and raise on every rank if one of them fails, also by an interrupt.

        Args:
            work: This rank's part.

        Returns:
            What it returned here.

        Raises:
            OtherRankFailedError: If another rank failed.
        """
        if not self._joined:
            return work()
        try:
            found = work()
        except BaseException as error:
            self.agree(error)  # the others wait for this rank
            raise
        self.agree(None)
        return found
