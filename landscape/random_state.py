"""Random state as plain values, which a file can hold and another process can take on."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import torch

from .randomness import accelerator, generators_of

State = dict[str, Any]


def _packed(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.cpu().numpy().tobytes()).decode()


def _unpacked(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _plain(value: Any) -> Any:
    """Turn NumPy's state into JSON's kinds."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def _take(generator: object) -> Any:
    match generator:
        case torch.Generator():
            return _packed(generator.get_state())
        case np.random.Generator():
            return _plain(generator.bit_generator.state)
        case np.random.RandomState():
            return _plain(generator.get_state(legacy=False))
        case random.Random():
            return generator.getstate()
    raise TypeError(f"no known generator: {type(generator).__name__}")


def _give(generator: object, state: Any) -> None:
    match generator:
        case torch.Generator():
            generator.set_state(_unpacked(state))
        case np.random.Generator():
            generator.bit_generator.state = state
        case np.random.RandomState():
            generator.set_state(state)
        case random.Random():
            generator.setstate((state[0], tuple(state[1]), state[2]))


def take_state(loader: object = None) -> State:
    """Take the global random state and that of a data loader's own generators.

    Args:
        loader: See :func:`~lrscape.landscape.randomness.capture`.

    Returns:
        JSON values by name.
    """
    module = accelerator()
    devices = [] if module is None else [module.get_rng_state(i) for i in range(module.device_count())]
    return {
        "python": random.getstate(),
        "numpy": _plain(np.random.get_state(legacy=False)),  # noqa: NPY002  the user's code may draw from it
        "torch": _packed(torch.get_rng_state()),
        "devices": [_packed(state) for state in devices],
        "loader": [_take(generator) for generator in generators_of(loader)],
    }


def give_state(state: State, loader: object = None) -> None:
    """Put a state in place that was taken here or in another process.

    Args:
        state: From :func:`take_state`.
        loader: One with the same generators.

    Raises:
        ValueError: If the loader has another number of generators, or there are fewer devices.
    """
    found = generators_of(loader)
    module = accelerator()
    if len(found) != len(state["loader"]):
        raise ValueError(f"the loader has {len(found)} random generators, but the state holds {len(state['loader'])}")
    if state["devices"] and (module is None or module.device_count() < len(state["devices"])):
        raise ValueError(f"the random state is of {len(state['devices'])} accelerators, which are not in use here")
    random.setstate((state["python"][0], tuple(state["python"][1]), state["python"][2]))
    np.random.set_state(state["numpy"])  # noqa: NPY002  as above
    torch.set_rng_state(_unpacked(state["torch"]))
    for i, packed in enumerate(state["devices"]):
        assert module is not None
        module.set_rng_state(_unpacked(packed), i)
    for generator, own in zip(found, state["loader"], strict=True):
        _give(generator, own)
