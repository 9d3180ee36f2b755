"""A task's values on one batch, recorded once as a CUDA graph and replayed at every point."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .closure import Task

Values = tuple[Tensor, Tensor]
Recording = tuple[Callable[[], object], Values]  # what replays, and the tensors that it writes to

WARM_UP = 3  # runs before a recording: libraries choose kernels and set up workspaces in the first ones
TRUSTED = 2  # points at which a replay must give the bits of a plain run

logger = logging.getLogger("lrscape")


def record(values: Callable[[], Values], device: torch.device) -> Recording:
    """Record what runs on an NVIDIA GPU.

    Args:
        values: Launches kernels, always the same ones on the same memory.
        device: The GPU.

    Returns:
        A function that launches all of them at once, and the tensors that they write to.

    Raises:
        RuntimeError: If it does something that cannot be recorded, such as waiting for a result.
    """
    side: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            values()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    torch.clear_autocast_cache()  # casts of the weights belong into the recording, or a replay would not see a move
    with torch.cuda.graph(graph):
        found = values()
    torch.clear_autocast_cache()
    return graph.replay, found


class Replay:
    """Computes a task's values like the task itself, by replaying a recording wherever that gives the same bits.

    Small models on a GPU wait for kernel launches; a replay launches all kernels of a forward pass at once. The model's
    weights are read from where they are, so a replay after a move gives the values at the new point; a batch of the
    same structure and shapes is copied over the recorded one. A replay is compared with a plain run at the first two
    points; if it differs, or cannot be recorded, plain runs go on (logged once).

    Args:
        task: What to evaluate.
        device: Where.
        recorder: Makes the recording; for CUDA by default.

    Attributes:
        replays: How often the recording was replayed and relied on.
    """

    def __init__(
        self,
        task: Task,
        device: torch.device,
        recorder: Callable[[Callable[[], Values], torch.device], Recording] = record,
    ) -> None:
        self._task, self._device, self._recorder = task, device, recorder
        self._unit: Any = None
        self._static: Any = None
        self._recording: Recording | None = None
        self._trust = 0
        self._works = True
        self.replays = 0

    def values(self, model: nn.Module, unit: Any) -> Values:
        """Compute what the task computes.

        Args:
            model: The model at some point; the same one in every call.
            unit: One of the task's units.

        Returns:
            Sums and weights, which later calls do not change.
        """
        if not self._works or not self._load(unit):
            return self._task.values(model, unit)
        if self._recording is None:
            return self._first(model, unit)
        again, found = self._recording
        again()
        sums, weights = (part.clone() for part in found)
        if self._trust < TRUSTED:
            plain = self._task.values(model, unit)
            if not all(map(torch.equal, plain, (sums, weights))):
                self._give_up("it gives other values than a plain run")
                return plain
            self._trust += 1
        self.replays += 1
        return sums, weights

    def _first(self, model: nn.Module, unit: Any) -> Values:
        before = _random_states(self._device)
        plain = self._task.values(model, unit)
        if not all(map(torch.equal, before, _random_states(self._device))):
            self._give_up("it draws random numbers")  # a replay would draw others at each point
            return plain
        try:
            self._recording = self._recorder(lambda: self._task.values(model, self._static), self._device)
        except (RuntimeError, ValueError) as error:  # what cannot be captured has no exception of its own
            self._give_up(f"{type(error).__name__}: {error}")
        return plain

    def _load(self, unit: Any) -> bool:
        """Put a batch where the recording reads it."""
        if self._unit is unit and self._static is not None:
            return True
        leaves, structure = pytree.tree_flatten(unit)
        if self._static is None:
            copied = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            self._static = pytree.tree_unflatten(copied, structure)
            self._unit = unit
            return True
        static, known = pytree.tree_flatten(self._static)
        if known != structure or not all(map(_fits, static, leaves)):
            return False
        for kept, leaf in zip(static, leaves, strict=True):
            if isinstance(kept, Tensor):
                kept.copy_(leaf)
        self._unit = unit
        return True

    def _give_up(self, reason: str) -> None:
        self._works, self._recording = False, None
        logger.info("lrscape: the forward pass is not replayed as a CUDA graph (%s)", reason)


def _fits(kept: Any, leaf: Any) -> bool:
    """Tell whether a leaf of a batch can take the place of the recorded one."""
    if isinstance(kept, Tensor) and isinstance(leaf, Tensor):
        alike = kept.shape == leaf.shape and kept.dtype == leaf.dtype and kept.stride() == leaf.stride()
        return alike and kept.device == leaf.device
    return type(kept) is type(leaf) and bool(kept == leaf)


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
