"""Memory that does not suffice: told apart from other errors, and said with what to do."""

from __future__ import annotations

import torch

from .checkpoint_text import shortened


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed; on the CPU torch raises a plain RuntimeError for it.

    Args:
        error: What was raised.

    Returns:
        Whether less work at once may help.

    Example:
        >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory")), out_of_memory(RuntimeError("shape"))
        (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    texts = ("allocate memory", "not enough memory", "out of memory", "start new thread")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def exhausted(error: Exception, tried: str, advice: str) -> Exception:
    """Say that the memory does not suffice, in an error of the same kind, so that handlers of it still work.

    Args:
        error: For which :func:`out_of_memory` holds.
        tried: What was tried.
        advice: What to do.

    Returns:
        The error to raise.

    Example:
        >>> exhausted(MemoryError("4 GiB"), "one point at a time", "use smaller batches")
        MemoryError('out of memory, with one point at a time: use smaller batches (4 GiB)')
    """
    reason = shortened(str(error).strip().split("\n")[0]) or type(error).__name__
    text = f"out of memory, with {tried}: {advice} ({reason})"
    for kind in (torch.OutOfMemoryError, MemoryError):
        if isinstance(error, kind):
            return kind(text)
    return RuntimeError(text)
