"""Tensors that a forward pass under vmap would leave behind: found, and taken away again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from .closure import ClosureTask, Task
from .contents import CONTAINERS, LONG, Contents, attributes
from .objective import Objective

HUGE = 20_000  # entries: containers as large are data, and comparing them would cost more than a small model
# Levels that are followed from a function and from an attribute of a module; an object costs two, and needs three.
FROM_FUNCTION, FROM_MODULE, OBJECT = 5, 3, 2
_LEAVES = frozenset({
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    type(None),
    Tensor,
    nn.Parameter,
    torch.dtype,
    torch.device,
})

_EMPTY = CellType()  # equal to cells of variables that have no value yet


class _Search:
    """Finds what a forward pass can write into."""

    def __init__(self) -> None:
        self.found: list[Contents] = []
        self._seen: set[int] = set()

    def look(self, values: Iterable[Any], budget: int) -> None:
        for value in values:
            if type(value) in _LEAVES or isinstance(value, type | ModuleType | Tensor) or id(value) in self._seen:
                continue
            self._seen.add(id(value))
            if isinstance(value, nn.Module):
                self._look_at_module(value)
            elif budget <= 0:
                continue
            elif isinstance(value, CONTAINERS):
                self._look_into(value, budget - 1)
            elif isinstance(value, tuple):
                self.look(value, budget - 1)
            elif isinstance(value, FunctionType):
                self._look_at_function(value, budget - 1)
            elif isinstance(value, MethodType):
                self.look([value.__self__, value.__func__], budget)
            elif isinstance(value, partial):
                self.look([value.func, *value.args, *value.keywords.values()], budget)
            elif budget > OBJECT and isinstance(getattr(value, "__dict__", None), dict):
                self._look_into(vars(value), budget - OBJECT)

    def _look_at_function(self, function: FunctionType, budget: int) -> None:
        variables = _Variables(function)
        self.found.append(variables)
        # A function of another file is a library's, as a rule.
        self.look(
            (
                value
                for value in variables.values
                if not isinstance(value, FunctionType) or value.__globals__ is function.__globals__
            ),
            budget,
        )
        self.look([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()], budget)
        self._look_into(vars(function), budget)

    def _look_into(self, container: Any, budget: int) -> None:
        if len(container) <= HUGE:
            found = Contents(container)
            self.found.append(found)
            if len(container) <= LONG:
                self.look(found.values, budget)

    def _look_at_module(self, module: nn.Module) -> None:
        for part in module.modules():
            self._seen.add(id(part))
            own = attributes(part)
            self.found.append(own)
            self.look(own.values, FROM_MODULE)


class _Variables(Contents):
    """The variables of a function's file and of the functions around it that it names."""

    def __init__(self, function: FunctionType) -> None:
        self._names = list(dict.fromkeys(_names(function.__code__)))
        super().__init__(function)

    def _now(self) -> tuple[list[Any], list[Any]]:
        known = self.container.__globals__
        cells = [cell for cell in self.container.__closure__ or () if cell != _EMPTY]
        names = [name for name in self._names if name in known]
        return [*cells, *names], [*(cell.cell_contents for cell in cells), *(known[name] for name in names)]

    def restore(self) -> None:
        known = self.container.__globals__
        for name in set(self._names).intersection(known).difference(key for key in self._keys if type(key) is str):
            del known[name]
        for key, value in zip(self._keys, self.values, strict=True):
            if isinstance(key, CellType):
                key.cell_contents = value
            else:
                known[key] = value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)


def _functions(task: Task) -> list[Callable[..., Any]]:
    """List what the user wrote of a task."""
    if isinstance(task, ClosureTask):
        return [task.closure]
    if isinstance(task, Objective):
        return [task.loss_fn, *task.metrics.values()]
    inner = getattr(task, "whole", None) or getattr(task, "_task", None)
    return [] if inner is None else _functions(inner)


def _hooks(model: nn.Module) -> list[Callable[..., Any]]:
    return [
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    ]


def _dead(value: Any, depth: int = 3) -> bool:
    """Tell whether something is, or holds, a tensor of a vmap that has ended."""
    if isinstance(value, Tensor):
        return bool(torch._C._functorch.is_batchedtensor(value))
    if depth == 0 or type(value) in _LEAVES or isinstance(value, type | ModuleType | nn.Module):
        return False
    if isinstance(value, dict):
        return any(_dead(held, depth - 1) for held in value.values())
    if isinstance(value, (*CONTAINERS, tuple)):
        return any(_dead(held, depth - 1) for held in value)
    held = getattr(value, "__dict__", None)
    return isinstance(held, dict) and any(_dead(attribute, depth - 1) for attribute in held.values())


@contextmanager
def taken_away(model: nn.Module, task: Task) -> Iterator[Callable[[], bool]]:
    """Take away tensors that forward passes under vmap leave behind, which nothing could compute with afterwards.

    Looked at are attributes of the modules, and what hooks, closure or loss functions close over, are bound to or name
    among the globals of their file: lists, dicts, sets, deques and objects, some levels deep. Where a tensor is found,
    the container gets back what it held before.

    Args:
        model: The model.
        task: What is evaluated.

    Yields:
        A function that does so, and tells whether it found any; it is also done at the end.
    """
    search = _Search()
    search.look([model], FROM_MODULE)
    search.look([*_functions(task), *_hooks(model)], FROM_FUNCTION)

    def take_away() -> bool:
        found = [contents for contents in search.found if any(map(_dead, contents.added()))]
        for contents in found:
            contents.restore()
        return bool(found)

    try:
        yield take_away
    finally:
        take_away()
