"""Random vectors over parameters, the same on any device."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .curvature_operator import CurvatureOperator
from .draws import Seed, stream_seed

Kind = Literal["rademacher", "gaussian"]
Randomness = Seed | torch.Generator


def generator_from(seed: Randomness) -> torch.Generator:
    """Make the stream that random vectors are drawn from; global random state is not touched.

    Args:
        seed: A whole number or a tuple of them; or a generator on the CPU, which is then advanced.

    Returns:
        The generator.

    Raises:
        TypeError: If ``seed`` is something else.
        ValueError: If the generator is not on the CPU.
    """
    if isinstance(seed, torch.Generator):
        if seed.device.type != "cpu":
            raise ValueError(f"seed must be a generator on the CPU, got one on {seed.device}")
        return seed
    if not isinstance(seed, int | tuple):
        raise TypeError(f"seed must be a whole number, a tuple of them or a torch.Generator, got {type(seed).__name__}")
    return torch.Generator().manual_seed(stream_seed(seed, 0, "vectors"))


def draw(operator: CurvatureOperator, k: int, generator: torch.Generator, kind: Kind = "gaussian") -> Tensor:
    """Draw k independent vectors: E vvᵀ = I.

    Args:
        operator: Says how long, of which kind and where.
        k: How many.
        generator: On the CPU.
        kind: "gaussian", or "rademacher" for entries ±1.

    Returns:
        Shape (k, P).
    """
    shape = (k, operator.size)
    if kind == "rademacher":
        drawn = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8).mul_(2).sub_(1)
    else:
        drawn = torch.randn(shape, generator=generator)  # float32, so that a float64 copy of a model gets the same
    return drawn.to(operator.device, operator.dtype)


def unit_start(operator: CurvatureOperator, start: Tensor) -> Tensor:
    """Check vectors that an iteration is to start from, and scale them to length 1.

    Args:
        operator: Says how long, of which kind and where.
        start: Shape (P,) or (n, P).

    Returns:
        Shape (n, P).

    Raises:
        TypeError: If it is no tensor.
        ValueError: If the shape does not fit, or a vector is zero or not finite.
    """
    if not isinstance(start, Tensor):
        raise TypeError(
            f"start must be a torch.Tensor of shape ({operator.size},) or None, to start at random, got "
            f"{type(start).__name__}"
        )
    rows = start.detach().to(operator.device, operator.dtype)
    rows = rows[None] if rows.dim() == 1 else rows
    if rows.dim() != 2 or rows.shape[1] != operator.size or len(rows) == 0:
        raise ValueError(
            f"start must have shape ({operator.size},) or (n, {operator.size}), one number per parameter that counts, "
            f"got {tuple(start.shape)}"
        )
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not bool(((lengths > 0) & torch.isfinite(lengths)).all()):
        raise ValueError("start must be finite and not zero; pass None to start at random")
    unit: Tensor = rows / lengths
    return unit
