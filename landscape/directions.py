"""Directions in parameter space."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .filters import match_filters_, match_layer_
from .parameters import ParameterChoice, Slot, left_out, movable, working_dtype

Norm = Literal["filter", "layer", "none"]
Seed = int | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Directions:
    r"""k directions in the space of a model's parameters.

    Attributes:
        tensors: By canonical parameter name, a tensor of shape (k, \*parameter.shape): float64 for a float64
            parameter, float32 for any other, on the parameter's device.
        kind: How the directions were made, e.g. "random".
        details: Numbers and strings that say how, for the provenance of a surface.
        left_out: Names of the parameters that do not move.
    """

    tensors: Mapping[str, Tensor]
    kind: str
    details: Mapping[str, object] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    def gram(self) -> NDArray[np.float64]:
        """Compute the inner products of all pairs of directions, summed in float64.

        Returns:
            Array of shape (k, k).
        """
        total = np.zeros((len(self), len(self)))
        for tensor in self.tensors.values():
            flat = tensor.detach().reshape(len(self), -1).to("cpu", torch.float64)
            total += (flat @ flat.T).numpy()
        return total

    def norms(self) -> NDArray[np.float64]:
        """Compute the Euclidean length of each direction.

        Returns:
            Array of shape (k,).
        """
        return np.asarray(np.sqrt(np.diag(self.gram())))

    def cosines(self) -> NDArray[np.float64]:
        """Compute the cosine of the angle between each pair of directions.

        Returns:
            Array of shape (k, k); a direction of length zero has cosine 0 with all.
        """
        gram = self.gram()
        length = np.sqrt(np.diag(gram))
        scale = np.outer(length, length)
        cosines: NDArray[np.float64] = np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0)
        return cosines

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the directions to an ``.npz`` file, atomically.

        Args:
            path: Where; the name is taken as it is.
        """
        from .direction_files import write_directions

        write_directions(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Directions:
        """Read directions that :meth:`save` wrote; no pickled object is ever loaded.

        Args:
            path: The file.
            model: Put each tensor where this model's parameter is; on the CPU without.

        Returns:
            The directions.

        Raises:
            ValueError: If the file holds no directions, is damaged, comes from a newer version, or does not fit the
                model.
        """
        from .direction_files import read_directions

        return read_directions(path, model)


def stream_seed(seed: Seed, index: int, name: str) -> int:
    """Derive the seed of one parameter's private random stream.

    The first eight bytes of SHA-256("seed/index/name"): no stream depends on the order, the number or the placement
    of the others, so the same seed gives the same direction on any device and under any sharding.

    Args:
        seed: The user's seed; a tuple is joined by colons.
        index: Number of the direction.
        name: Canonical name of the parameter.

    Returns:
        A number in [0, 2⁶³).

    Example:
        >>> stream_seed(0, 0, "weight") == stream_seed(0, 1, "weight")
        False
    """
    text = ":".join(map(str, seed)) if isinstance(seed, tuple) else str(seed)
    digest = hashlib.sha256(f"{text}/{index}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _draw(slot: Slot, k: int, seed: Seed, generator: str) -> Tensor:
    device = torch.device("cpu") if generator == "cpu" else slot.parameter.device
    # Always float32, so that a float32 and a float64 copy of a model get the same direction.
    drawn = torch.empty(k, *slot.parameter.shape, device=device, dtype=torch.float32)
    for index in range(k):
        stream = torch.Generator(device=device).manual_seed(stream_seed(seed, index, slot.canonical))
        drawn[index].normal_(generator=stream)
    return drawn


def _random_tensor(slot: Slot, k: int, norm: Norm, bias: str, seed: Seed, generator: str) -> Tensor:
    parameter, dtype = slot.parameter.detach(), working_dtype(slot.parameter)
    if parameter.dim() <= 1 and bias == "zero":
        return torch.zeros(k, *parameter.shape, dtype=dtype, device=parameter.device)
    drawn = _draw(slot, k, seed, generator)
    values, drawn = parameter.to(drawn.device, dtype), drawn.to(dtype)
    if norm == "filter":
        match_filters_(drawn, slot, values)
    elif norm == "layer":
        match_layer_(drawn, values)
    return drawn.to(parameter.device)


def gram_schmidt(tensors: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """Make directions orthogonal as whole vectors, in place, each keeping its length (modified Gram–Schmidt).

    Args:
        tensors: Of k directions.
        k: Their number.

    Returns:
        The same tensors.

    Raises:
        ValueError: If a direction lies in the span of those before it.
    """

    def inner(i: int, j: int) -> float:
        return sum(float(torch.sum(t[i].double() * t[j].double())) for t in tensors.values())

    for i in range(k):
        length = inner(i, i) ** 0.5
        for j in range(i):
            square = inner(j, j)
            if square > 0:
                overlap = inner(i, j) / square
                for tensor in tensors.values():
                    tensor[i].sub_(tensor[j], alpha=overlap)
        left = inner(i, i) ** 0.5
        if length > 0 and left <= 1e-6 * length:
            raise ValueError(
                f"{k} orthogonal directions cannot be had: direction {i} (from 0) lies in the span of those before it, "
                "which may be all that the parameters have room for. Use fewer directions, or others."
            )
        for tensor in tensors.values():
            tensor[i].mul_(length / left if left > 0 else 1.0)
    return tensors


def random_directions(
    model: nn.Module,
    k: int = 2,
    *,
    norm: Norm = "filter",
    bias: Literal["zero", "match"] = "zero",
    orthogonal: bool = False,
    seed: Seed = 0,
    parameters: ParameterChoice = None,
    generator: Literal["cpu", "device"] = "cpu",
) -> Directions:
    r"""Draw random directions, normalised filter by filter.

    d ~ N(0, I), then d_f ← d_f · |p_f| / (|d_f| + 1e-10) for each filter f (Li et al. 2018, section 4,
    arXiv:1712.09913): one unit along d changes every filter by its own length, whatever the scale of the layer.

    The caller's random state is not touched: each parameter has a private stream, seeded by SHA-256 of
    ``seed/index/name``.

    Args:
        model: Any module; it is only read.
        k: Number of directions.
        norm: "filter"; "layer" matches the length of each whole tensor; "none" keeps the draw.
        bias: What becomes of 0-d and 1-D parameters (biases, norm gains): "zero" as in Li et al., "match" rescales
            the whole vector like one filter, as topoadamw 0.1.0 does.
        orthogonal: Make the directions orthogonal as whole vectors, each keeping its length. The lengths of single
            filters are then matched only approximately.
        seed: Whole number, or a tuple of them.
        parameters: Restricts what moves; see :func:`movable`.
        generator: "cpu" gives the same direction on every device; "device" draws where the parameter is, which is
            faster for large models but differs between kinds of device.

    Returns:
        The directions, with tensors of shape (k, \*parameter.shape).

    Raises:
        ValueError: If an argument has a value other than those above, or the model has nothing to move.

    Example:
        >>> model = nn.Linear(3, 2, bias=False)
        >>> d = random_directions(model, 2, seed=0)
        >>> rows = torch.linalg.vector_norm(d.tensors["weight"][0], dim=1)
        >>> torch.allclose(rows, torch.linalg.vector_norm(model.weight.detach(), dim=1))
        True
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 direction, got {k}")
    if norm not in {"filter", "layer", "none"}:
        raise ValueError(f"norm must be 'filter', 'layer' or 'none', got {norm!r}")
    if bias not in {"zero", "match"}:
        raise ValueError(f"bias must be 'zero' or 'match', got {bias!r}")
    if generator not in {"cpu", "device"}:
        raise ValueError(f"generator must be 'cpu' or 'device', got {generator!r}")
    slots = movable(model, parameters)
    if bias == "zero" and all(slot.parameter.dim() <= 1 for slot in slots):
        raise ValueError(
            "bias='zero' leaves no direction: every parameter that moves is 0-d or 1-D. Pass bias='match' to move them."
        )
    tensors = {slot.canonical: _random_tensor(slot, k, norm, bias, seed, generator) for slot in slots}
    if orthogonal:
        tensors = gram_schmidt(tensors, k)
    details = {"norm": norm, "bias": bias, "orthogonal": orthogonal, "seed": seed, "generator": generator}
    return Directions(tensors, "random", details, left_out(model, slots))


def directions_from_vectors(
    model: nn.Module, vectors: Tensor | NDArray[np.floating], *, parameters: ParameterChoice = None
) -> Directions:
    """Take directions that the user has as flat vectors.

    Args:
        model: The module they belong to.
        vectors: Shape (k, P) or (P,), in the order of ``torch.nn.utils.parameters_to_vector`` over the parameters
            that move.
        parameters: Restricts what moves; see :func:`movable`.

    Returns:
        The directions.

    Raises:
        ValueError: If the shape does not fit the model, or a number is not finite.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> directions_from_vectors(model, torch.tensor([1.0, 2.0, 3.0])).tensors["bias"]
        tensor([[3.]])
    """
    flat = torch.as_tensor(vectors).detach()
    flat = flat[None] if flat.dim() == 1 else flat
    slots = movable(model, parameters)
    sizes = [slot.parameter.numel() for slot in slots]
    if flat.dim() != 2 or flat.shape[1] != sum(sizes):
        raise ValueError(
            f"vectors must have shape (k, {sum(sizes)}), one number per parameter that moves, got {tuple(flat.shape)}"
        )
    if not bool(torch.isfinite(flat).all()):
        raise ValueError("vectors must be finite, got NaN or infinity")
    tensors = {
        slot.canonical: piece
        .reshape(flat.shape[0], *slot.parameter.shape)
        .to(slot.parameter.device, working_dtype(slot.parameter))
        .clone()
        for slot, piece in zip(slots, torch.split(flat, sizes, dim=1), strict=True)
    }
    return Directions(tensors, "vectors", {}, left_out(model, slots))
