"""Ctrl-C while weights are moved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class DeferredInterrupt:
    """Hold SIGINT back until the model is as it was.

    Python's own handler raises KeyboardInterrupt between any two bytecodes, so also in the middle of putting the
    weights back. Inside this context the signal is only noted; :meth:`check` raises where it is safe, and leaving the
    context delivers what is still pending. A handler of the user's own is called on leaving, never in between: it
    might save a checkpoint of moved weights. Outside the main thread, where no signal arrives, nothing happens.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], Any] | int | None = None
        self._installed = False
        self.pending = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
                self._installed = True
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.pending = True

    def due(self) -> bool:
        """Tell whether :meth:`check` would raise.

        Returns:
            Whether SIGINT arrived and the default handler would have raised it.
        """
        return self.pending and self._handler is signal.default_int_handler

    def check(self) -> None:
        """Raise the interrupt if one arrived and the default handler would have raised it.

        Raises:
            KeyboardInterrupt: If SIGINT arrived.
        """
        if self.due():
            self.pending = False
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if not self._installed:
            return
        signal.signal(signal.SIGINT, self._handler)
        self._installed = False
        if self.pending:
            signal.raise_signal(signal.SIGINT)
