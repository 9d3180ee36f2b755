"""Parameters that an optimizer of ours updates at one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Parameters that are updated together, each with its gradient and state.

    Attributes:
        whole: The parameters.
        here: What of them this rank holds; they themselves, unless they are spread over ranks.
        gradients: Likewise, pointing downhill for what is minimised.
        states: By name what the optimizer remembers, without what other ranks hold of it.
        steps: How many steps each has taken, this one included.
        group: Their options.
    """

    whole: list[Tensor]
    here: list[Tensor]
    gradients: list[Tensor]
    states: dict[str, list[Tensor]]
    steps: list[int]
    group: dict[str, Any]
