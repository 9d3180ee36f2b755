"""Values of Python's own kinds, so that neither a checkpoint nor a line of JSON needs numpy to be read."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain_values(value: Any) -> Any:
    """Replace numpy's scalars by Python's numbers, in dicts, lists and tuples too.

    Args:
        value: Anything.

    Returns:
        The same with containers of its own; what is neither a scalar nor such a container stays the same object.

    Example:
        >>> plain_values({"span": np.float64(0.5), "seeds": [np.int64(3), (np.bool_(True), "x")]})
        {'span': 0.5, 'seeds': [3, (True, 'x')]}
    """
    if isinstance(value, np.generic):
        return value.item()
    kind = type(value)  # exactly these: torch's Counter of milestones, or a named tuple, must stay one
    if kind is dict:
        return {key: plain_values(entry) for key, entry in value.items()}
    if kind is list or kind is tuple:
        return kind(plain_values(entry) for entry in value)
    return value
