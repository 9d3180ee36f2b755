"""Count the bytes of tensors that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow the bytes of all storages that operations make or read, by weak references; views count once.

    Attributes:
        now: Bytes alive.
        peak: The most that were alive at one time.

    Args:
        known: Tensors that existed before and do not count.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, int] = {}
        self.now: int = 0
        self.peak: int = 0

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live or key in self._known or size == 0:
            return
        self._live[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._live.pop(key)

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and look at what it got and gave."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((result, args, kwargs)):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        return result


def peak_bytes(run: Callable[[], object], known: Iterable[Tensor] = ()) -> int:
    """Run something and give the most bytes of tensors that lived at one time beside those known."""
    live = LiveTensors(known)
    with live:
        run()
    return live.peak
