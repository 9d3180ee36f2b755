"""What makes a scan the scan it is: a hash of everything its numbers depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from .closure import Task
from .directions import Directions
from .engines import Job
from .objective import Objective
from .parameters import canonical_name
from .randomness import preserved

_SLICE = 2**24  # elements at a time: what is hashed lies in host memory meanwhile


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # each rank hashes its own shard
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    flat = local.detach().reshape(-1)
    for start in range(0, flat.numel(), _SLICE):
        digest.update(flat[start : start + _SLICE].contiguous().cpu().view(torch.uint8).numpy().tobytes())


def hash_tensors(tensors: Iterable[tuple[str, Tensor | None]]) -> str:
    """Hash named tensors: names, shapes, dtypes and every bit of their values.

    Args:
        tensors: Names and tensors.

    Returns:
        32 hexadecimal digits (BLAKE2b).

    Example:
        >>> hash_tensors([("a", torch.zeros(2))]) == hash_tensors([("a", torch.tensor([0.0, -0.0]))])
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors:
        if tensor is not None:
            _add(digest, name, tensor)
    return digest.hexdigest()


def _hash_directions(directions: Directions) -> str:
    if isinstance(directions.tensors, dict):
        return hash_tensors(directions.tensors.items())
    # Regenerated from their seed: what they are made of says as much, beside the parameters.
    text = json.dumps({"kind": directions.kind, "names": list(directions.tensors), **directions.details}, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _name(function: Callable[..., Any]) -> str:
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"


def first_unit(task: Task, device: torch.device) -> Any:
    """Read the first batch and leave the loader and all random state as they were.

    Args:
        task: With data.
        device: Where tensors are moved to.

    Returns:
        The batch.
    """
    with preserved(task.loader):
        return next(iter(task.units(device)))


def hash_batch(unit: Any) -> str:
    """Hash a batch of any structure.

    Args:
        unit: A pytree.

    Returns:
        32 hexadecimal digits.
    """
    leaves, structure = pytree.tree_flatten(unit)
    tensors = [(str(i), leaf) for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    rest = [leaf for leaf in leaves if not isinstance(leaf, Tensor)]
    text = f"{hash_tensors(tensors)} {structure} {rest if all(isinstance(r, str | int | float) for r in rest) else ''}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def identity(job: Job, coordinates: NDArray[np.float64], sharing: str) -> dict[str, str]:
    """Describe a scan, part by part, so that a reader learns what differs between two.

    Args:
        job: What is evaluated.
        coordinates: Shape (N, k).
        sharing: How ranks share the work, where that changes the numbers.

    Returns:
        A hash or a few words by the name of each part. Of the data, the number of batches and the first one count.
    """
    task, parts = job.task, dict[str, str]()
    parts["parameters"] = hash_tensors((canonical_name(name), p) for name, p in job.model.named_parameters())
    parts["buffers"] = hash_tensors((canonical_name(name), b) for name, b in job.model.named_buffers())
    parts["directions"] = _hash_directions(job.directions)
    parts["points"] = hashlib.blake2b(np.ascontiguousarray(coordinates).tobytes(), digest_size=16).hexdigest()
    if isinstance(task, Objective):
        functions = {"loss": task.loss_fn, **task.metrics}
        parts["objective"] = ", ".join(f"{name}={_name(function)}" for name, function in functions.items())
        parts["data"] = f"{task.size()} batches, the first {hash_batch(first_unit(task, job.device))}"
    parts["BatchNorm policy"] = job.batch_norm
    parts["dropout"] = "on" if job.dropout else "off"
    parts["precision"] = _precision(job.device)
    parts["ranks"] = sharing
    return parts


def _precision(device: torch.device) -> str:
    kind = device.type
    cast = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else "none"
    return f"autocast {cast}, matrices {torch.backends.cuda.matmul.fp32_precision}" if kind == "cuda" else cast


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Name the parts in which two scans differ.

    Args:
        ours: One identity.
        theirs: Another.

    Returns:
        Names, in order.

    Example:
        >>> differences({"points": "a", "data": "b"}, {"points": "a", "data": "c"})
        ['data']
    """
    return [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
