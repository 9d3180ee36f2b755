"""Parameters of which each rank holds a part (FSDP2, DTensor)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .boxes import Box


@dataclass(frozen=True, eq=False)
class Sharding:
    """How a tensor is spread over ranks.

    Attributes:
        mesh: The device mesh.
        placements: One per dimension of the mesh.
        here: The box of the whole tensor that this rank holds.
    """

    mesh: Any
    placements: tuple[Any, ...]
    here: Box

    def summed(self, parts: Tensor) -> Tensor:
        """Add up what ranks found, each on its part; copies of the same part count once.

        Args:
            parts: This rank's sums.

        Returns:
            The total, on every rank.
        """
        from torch.distributed.tensor import DTensor, Partial, Replicate

        placements = [Partial() if placement.is_shard() else Replicate() for placement in self.placements]
        local = parts.to(self.mesh.device_type)
        return DTensor.from_local(local, self.mesh, placements, run_check=False).full_tensor().to(parts.device)

    def stacked(self, local: Tensor, shape: tuple[int, ...]) -> Tensor:
        r"""Make a DTensor of k tensors that are spread like this one.

        Args:
            local: This rank's parts, shape (k, \*part).
            shape: Of one whole tensor.

        Returns:
            A DTensor of shape (k, \*shape).
        """
        from torch.distributed.tensor import DTensor, Shard

        placements = [Shard(p.dim + 1) if p.is_shard() else p for p in self.placements]
        size = torch.Size((len(local), *shape))
        stride = torch.empty(size, device="meta").stride()
        return DTensor.from_local(local, self.mesh, placements, run_check=False, shape=size, stride=stride)

    def spread(self, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Make a DTensor that is spread like this one.

        Args:
            part: What this rank holds.
            shape: Of the whole tensor.

        Returns:
            The DTensor; it shares the memory of the part.
        """
        from torch.distributed.tensor import DTensor

        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            part, self.mesh, self.placements, run_check=False, shape=torch.Size(shape), stride=stride
        )


def is_spread(tensor: Tensor) -> bool:
    """Tell whether a tensor is a DTensor, without importing what that needs.

    Args:
        tensor: Any.

    Returns:
        Whether :func:`sharding` has something to say.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def any_spread(tensors: Iterable[Tensor]) -> bool:
    """Tell whether parameters are spread over ranks, as fully_shard and tensor parallelism leave them.

    Args:
        tensors: Of a model, say.

    Returns:
        Whether one of them is a DTensor.

    Example:
        >>> any_spread(nn.Linear(2, 2).parameters())
        False
    """
    return any(is_spread(tensor) for tensor in tensors)


def sharding(tensor: Tensor, name: str = "a parameter") -> Sharding | None:
    """Find how a tensor is spread over ranks.

    Args:
        tensor: Any.
        name: How to call it in messages.

    Returns:
        None for an ordinary tensor.

    Raises:
        ValueError: If this rank's part is no box.
    """
    if not is_spread(tensor):
        return None
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    assert isinstance(tensor, DTensor)
    placements = tensor.placements
    if not all(type(placement) in {Shard, Replicate} for placement in placements):
        raise ValueError(
            f"{name} is placed as {placements}; landscape probes need Shard and Replicate placements, in which a rank "
            "holds adjacent rows, as fully_shard alone makes them. Shard over data parallel ranks only, or probe a "
            "full copy of the model"
        )
    lengths, offsets = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, placements)
    here = tuple(slice(offset, offset + length) for offset, length in zip(offsets, lengths, strict=True))
    return Sharding(tensor.device_mesh, tuple(placements), here)


def local(tensor: Tensor) -> Tensor:
    """Give the part of a tensor that this rank holds, detached.

    Args:
        tensor: Any.

    Returns:
        A tensor with the same storage and version counter; an ordinary tensor is all here.
    """
    if is_spread(tensor):
        with torch.no_grad():
            tensor = tensor.to_local()  # type: ignore[attr-defined]
    return tensor.detach()


def local_steps(steps: Tensor, parameter: Tensor, name: str) -> Tensor:
    r"""Give the part of a parameter's directions that belongs to the part of the parameter that is here.

    Args:
        steps: Shape (k, \*parameter.shape), spread like the parameter or not at all.
        parameter: The parameter.
        name: Its name.

    Returns:
        Shape (k, \*part).
    """
    if is_spread(steps):
        return local(steps)
    spread = sharding(parameter, name)
    return steps.detach() if spread is None else steps.detach()[(slice(None), *spread.here)]


def fsdp_modules(model: nn.Module) -> list[Any]:
    """List the modules of a model that fully_shard was applied to.

    Args:
        model: Any module.

    Returns:
        The modules; none where FSDP2 is not in use.
    """
    module = sys.modules.get("torch.distributed.fsdp")
    if module is None or not hasattr(model, "modules"):  # whoever asks for a module says so later
        return []
    return [part for part in model.modules() if isinstance(part, module.FSDPModule)]


def reshard(model: nn.Module) -> None:
    """Have FSDP2 forget whole parameters, so that the next forward pass gathers the shards as they are then.

    Args:
        model: Any module.
    """
    for module in fsdp_modules(model):
        module.reshard()


def _recover(modules: list[Any], error: BaseException) -> None:
    """End passes that an exception broke off: FSDP2 would keep whole parameters of the point it was at."""
    states = [module._get_fsdp_state() for module in modules]
    if all(state._training_state.name == "IDLE" for state in states):
        return
    for module, state in zip(modules, states, strict=True):
        if state._is_root:
            if hasattr(module, "reset_iter_state"):
                module.reset_iter_state()
            else:
                error.add_note("This torch cannot end FSDP2's forward pass that failed; load the model anew.")


def _was_whole(module: Any) -> bool:
    before = list(module.parameters())
    module.reshard()
    return any(a is not b for a, b in zip(before, module.parameters(), strict=True))


@contextmanager
def resharded(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Have FSDP2 keep no whole parameters but during a forward pass.

    Where it keeps them afterwards, as for the root module, a forward pass would not see that shards have moved. Those
    that it kept are gathered again at the end, but not after an exception: that would wait for ranks that have none.

    Args:
        model: Any module.

    Yields:
        A function to call before shards are written to.
    """
    modules = fsdp_modules(model)

    def reshard() -> None:
        for module in modules:
            module.reshard()

    whole = [module for module in modules if _was_whole(module)]
    try:
        yield reshard
    except BaseException as error:
        _recover(modules, error)
        reshard()
        raise
    reshard()
    for module in whole:
        module.unshard()
