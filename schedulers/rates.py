"""Keep our factor on the learning rates apart from the rates themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .plain_values import plain_values

Rate = float | Tensor


def _copy(rate: Rate) -> Rate:
    return rate.detach().clone() if isinstance(rate, Tensor) else rate


def read_rate(group: dict[str, Any]) -> Rate:
    """Read a group's learning rate without aliasing it.

    Args:
        group: A parameter group.

    Returns:
        A float, or a copy of the tensor.
    """
    rate: Rate = group["lr"]
    return _copy(rate)


def write_rate(group: dict[str, Any], rate: Rate) -> None:
    """Set a group's learning rate; a tensor stays the same tensor.

    Args:
        group: A parameter group.
        rate: The new value.
    """
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def separate_rates(optimizer: Optimizer) -> None:
    """Give each group a rate tensor of its own; torch puts one and the same into all groups that name none.

    Args:
        optimizer: Whose groups. The first to hold a tensor keeps it, the others get copies.
    """
    taken: set[int] = set()
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            if id(group["lr"]) in taken:
                group["lr"] = read_rate(group)
            taken.add(id(group["lr"]))


class FactoredRates:
    """Rates of the form plain × factor, where others may change the plain part.

    Other schedulers and the user write to ``group["lr"]`` too. As long as a rate is the one written last here, its
    plain part is known exactly, so that setting the same factor again changes no bit; a rate that somebody else has
    changed is taken to contain the factor, as multiplicative schedulers expect.

    Args:
        optimizer: Whose groups they are.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self.plain: list[Rate] = []
        self.written: list[Rate] = []
        self.applied: list[float] = []
        # Tensors are recognised by identity and version: comparing values would wait for the device at every step.
        self._seen: list[tuple[Tensor, int] | None] = []

    def _grow(self) -> None:
        for group in self._optimizer.param_groups[len(self.plain) :]:
            rate = read_rate(group)
            self.plain.append(rate)
            self.written.append(_copy(rate))
            self.applied.append(1.0)
            self._seen.append(None)

    def _untouched(self, i: int) -> bool:
        rate, written = self._optimizer.param_groups[i]["lr"], self.written[i]
        if not isinstance(rate, Tensor):
            return not isinstance(written, Tensor) and bool(rate == written)
        seen = self._seen[i]
        if seen is not None and seen[0] is rate and seen[1] == rate._version:
            return True
        return isinstance(written, Tensor) and bool(torch.equal(rate.detach().cpu(), written.cpu()))

    def current_plain(self) -> list[Rate]:
        """Compute the rates without our factor.

        Returns:
            One rate per group.
        """
        separate_rates(self._optimizer)  # every time: a group added later gets the first one's tensor
        self._grow()
        plain = []
        for i, group in enumerate(self._optimizer.param_groups):
            if self._untouched(i):
                plain.append(_copy(self.plain[i]))
            else:
                rate, factor = read_rate(group), self.applied[i]
                plain.append(rate if factor == 1 else rate / factor)
        return plain

    def product(self, plain: list[Rate], factors: list[float]) -> list[Rate]:
        """Compute plain × factor, leaving a rate alone where neither changed.

        Args:
            plain: What :meth:`current_plain` gave, or rates that another scheduler has just set.
            factors: One factor per group.

        Returns:
            One rate per group; none is numpy's, which would keep the optimizer's state from loading.
        """
        rates = [_copy(rate) if factor == 1 else rate * factor for rate, factor in zip(plain, factors, strict=True)]
        return [plain_values(rate) for rate in rates]

    def remember(self, plain: list[Rate], factors: list[float]) -> None:
        """Note what the groups hold now.

        Args:
            plain: The plain part of each rate.
            factors: The factors that they contain.
        """
        groups = self._optimizer.param_groups
        self.plain = [_copy(rate) for rate in plain]
        self.applied = list(factors)
        self.written = [read_rate(group) for group in groups]
        self._seen = [
            (group["lr"], group["lr"]._version) if isinstance(group["lr"], Tensor) else None for group in groups
        ]

    def state(self) -> dict[str, Any]:
        """Give the state as plain values.

        Returns:
            Lists of numbers or tensors by name.
        """
        return {
            "plain": [_copy(rate) for rate in self.plain],
            "written": [_copy(rate) for rate in self.written],
            "applied": list(self.applied),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the state.

        Args:
            state: What :meth:`state` gave.
        """
        plain, written = ([_copy(rate) for rate in state[name]] for name in ("plain", "written"))
        self.applied = list(state["applied"])
        self.plain, self.written = plain, written
        self._seen = [None] * len(self.plain)
