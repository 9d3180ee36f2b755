"""The state of a scheduler as torch.distributed.checkpoint can save it and load it onto another number of ranks."""

from __future__ import annotations

import io
from typing import Any, Protocol

import torch
from torch.utils import _pytree as pytree

MODEL_SHAPED = ("average", "start_weights")  # what may be spread over ranks like the parameters


class HasState(Protocol):
    """What can be saved: a scheduler, or one of our optimizers."""

    def state_dict(self) -> dict[str, Any]:
        """Give the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        ...


class DistributedState:
    """A scheduler for torch.distributed.checkpoint.

    ``dcp.load`` fills a state that must have the keys and shapes of the saved one. Those of a scheduler change as it
    goes (histories grow, eigenvectors appear), so its state is saved in one piece, as ``torch.save`` writes it, and
    only averages of the weights are left to ``dcp``: under FSDP2 each rank saves and loads its part of them. ::

        dcp.save({"model": …, "scheduler": DistributedState(scheduler)}, checkpoint_id=folder)
        dcp.load({"model": …, "scheduler": DistributedState(scheduler)}, checkpoint_id=folder)

    The number of ranks may be another one at loading, also one without torch.distributed.

    Args:
        scheduler: Any of ours.

    Example:
        >>> from lrscape.schedulers import RiverLR
        >>> scheduler, other = (RiverLR(torch.optim.SGD([torch.zeros(1)], lr=0.1), beta=0.5) for _ in range(2))
        >>> decision = scheduler.observe(torch.tensor([1.0, 3.0]))
        >>> DistributedState(other).load_state_dict(DistributedState(scheduler).state_dict())
        >>> len(other.history)
        1
    """

    def __init__(self, scheduler: HasState) -> None:
        self._scheduler = scheduler

    def state_dict(self) -> dict[str, Any]:
        """Give the state.

        Returns:
            "weights", the averages' tensors by name, and "rest", everything else as bytes.
        """
        state = self._scheduler.state_dict()
        weights = {name: state.pop(name) for name in MODEL_SHAPED if name in state}
        leaves, structure = pytree.tree_flatten_with_path(weights)
        names = [pytree.keystr(path) for path, _ in leaves]
        buffer = io.BytesIO()
        torch.save([state, pytree.tree_unflatten(names, structure)], buffer)
        return {
            "weights": {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True)},
            "rest": buffer.getvalue(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the scheduler continue from a saved state.

        Args:
            state_dict: What :meth:`state_dict` gave, filled by ``dcp.load``.

        Raises:
            ValueError: If weights are missing.
        """
        state, names = torch.load(io.BytesIO(state_dict["rest"]), weights_only=True)
        weights = state_dict.get("weights", {})
        missing = [name for name in pytree.tree_leaves(names) if name not in weights]
        if missing:
            raise ValueError(
                f"the state lacks {', '.join(missing[:3])}, which were saved; construct the scheduler as it was then"
            )
        self._scheduler.load_state_dict({**state, **pytree.tree_map(weights.__getitem__, names)})
