"""Random state: found, kept and put back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

Restore = Callable[[], object]


def accelerator() -> Any | None:
    """Find the module of the accelerator in use.

    Returns:
        The module, such as torch.cuda; None where there is none or it was never touched.
    """
    if not torch.accelerator.is_available():
        return None
    device = torch.accelerator.current_accelerator()
    module = torch.get_device_module(device)
    initialised = getattr(module, "is_initialized", None)
    return module if initialised is None or initialised() else None


def capture_global() -> Restore:
    """Take the global random state of Python, NumPy, torch and every accelerator in use.

    Returns:
        A function that puts it back; it may be called any number of times.
    """
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002  the user's code may draw from the global state, so it is kept
    cpu = torch.get_rng_state()
    module = accelerator()
    devices = [] if module is None else [module.get_rng_state(i) for i in range(module.device_count())]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  as above
        torch.set_rng_state(cpu)
        for i, state in enumerate(devices):
            if module is not None:
                module.set_rng_state(state, i)

    return restore


def _capture_generator(generator: object) -> Restore | None:
    match generator:
        case torch.Generator():
            return partial(generator.set_state, generator.get_state())
        case np.random.Generator():
            return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)
        case np.random.RandomState():
            return partial(generator.set_state, generator.get_state())
        case random.Random():
            return partial(generator.setstate, generator.getstate())
        case _:
            return None


def _attributes(loader: object) -> list[object]:
    """List what a data loader, its samplers and its dataset hold, among it their generators."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    holders = [
        loader,
        getattr(loader, "dataset", None),
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    ]
    found = {id(value): value for holder in holders for value in list(getattr(holder, "__dict__", {}).values())}
    return list(found.values())


def generators_of(loader: object) -> list[object]:
    """Find the random generators of a data loader, its samplers and its dataset.

    Args:
        loader: A data loader, or any iterable.

    Returns:
        Generators of torch, NumPy and Python that they hold as attributes.
    """
    kinds = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    return [held for held in _attributes(loader) if isinstance(held, kinds)]


def capture(loader: object = None) -> Restore:
    """Take the global random state and that of a data loader's own generators.

    Args:
        loader: A data loader, or any iterable; torch, NumPy and Python generators that it, its samplers and its
            dataset hold as attributes are found.

    Returns:
        A function that puts everything back; it may be called any number of times.
    """
    restores = [capture_global()]
    restores += [restore for generator in generators_of(loader) if (restore := _capture_generator(generator))]

    def restore_all() -> None:
        for restore in restores:
            restore()

    return restore_all


@contextmanager
def preserved(loader: object = None) -> Iterator[Restore]:
    """Leave all random state as it was found.

    Args:
        loader: See :func:`capture`.

    Yields:
        A function that rewinds to the state at entry.
    """
    restore = capture(loader)
    try:
        yield restore
    finally:
        restore()
