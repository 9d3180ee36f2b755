"""Lines and planes through given weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .directions import Directions
from .parameters import ParameterChoice, Slot, left_out, movable
from .points import Points, grid_around
from .weights import Weights, WeightsReader, compute_dtype, everything, unflatten


@dataclass(frozen=True, eq=False)
class Section:
    """A line or plane through given weights, and where on it they lie.

    Coordinates count from the first of them, the origin:
    ``evaluate(section.model, objective, section.directions, section.points(25))``.

    Attributes:
        model: A model that stands at the origin, with the origin's buffers. It is the user's own model if that was
            the first anchor, else a copy: a closure must then read this model.
        directions: One direction for a line, two orthonormal ones for a plane.
        coordinates: Where the anchors lie, shape (number of anchors, k).
    """

    model: nn.Module
    directions: Directions
    coordinates: NDArray[np.float64]

    def points(self, n: int = 25, margin: float = 0.25) -> Points:
        """Make a grid that holds the anchors, the origin exactly.

        Args:
            n: Points along each dimension.
            margin: Room on each side, as a fraction of the widest extent of the anchors.

        Returns:
            The grid; its other points need not meet the other anchors, so evaluate at ``coordinates`` for those.
        """
        return grid_around(self.coordinates, n, margin)


def _differences(
    model: nn.Module, anchors: tuple[Weights, ...], parameters: ParameterChoice
) -> tuple[WeightsReader, list[Slot], list[Tensor]]:
    """Read the anchors one after the other, and subtract the first from the others."""
    reader = WeightsReader(model)
    slots = movable(model, everything if parameters is None else parameters)
    dtype = compute_dtype(slots)
    origin = reader.vector(anchors[0], slots, dtype)
    return reader, slots, [reader.vector(anchor, slots, dtype).sub_(origin) for anchor in anchors[1:]]


def _inner(a: Tensor, b: Tensor) -> float:
    pieces = zip(torch.split(a, 2**20), torch.split(b, 2**20), strict=True)
    return float(sum(float(x.double() @ y.double()) for x, y in pieces))


def _checked(differences: list[Tensor], names: str) -> list[float]:
    lengths = [_inner(difference, difference) ** 0.5 for difference in differences]
    for name, length in zip(names, lengths, strict=True):
        if not np.isfinite(length):
            raise ValueError(f"the weights of a or {name} are not finite; leave out checkpoints of diverged runs")
        if length == 0:
            raise ValueError(f"a and {name} are the same weights (in the parameters that move); give different ones")
    return lengths


def _made(model: nn.Module, slots: list[Slot], vectors: list[Tensor], kind: str, details: dict[str, Any]) -> Directions:
    """Make directions without the parameters in which nothing differs."""
    tensors = unflatten(torch.stack(vectors), slots)
    moving = [slot for slot in slots if bool((tensors[slot.canonical] != 0).any())]
    return Directions({s.canonical: tensors[s.canonical] for s in moving}, kind, details, left_out(model, moving))


def line_between(model: nn.Module, a: Weights, b: Weights, *, parameters: ParameterChoice = None) -> Section:
    """Make the line from weights a to weights b.

    θ(α) = (1 − α)·θ_a + α·θ_b (Goodfellow, Vinyals & Saxe 2014, section 2, arXiv:1412.6544): d = θ_b − θ_a, and the
    coordinate is α.

    Buffers do not move: everywhere on the line they are those of a. Running statistics of BatchNorm belong to a's
    weights alone, and the loss seen at b is not b's; evaluate with ``batch_norm="recalibrate"``.

    Args:
        model: A module of the right architecture; it is not changed.
        a: Where the coordinate is 0: the model itself (no copy is made then), another module or a state dict of the
            same architecture, or the path of a checkpoint.
        b: Where it is 1, likewise.
        parameters: Restricts what moves, frozen parameters included; the others stay at a. By default every parameter
            moves in which a and b differ.

    Returns:
        The line, with coordinates [[0], [1]].

    Raises:
        TypeError: If a or b is of another kind.
        ValueError: If one does not fit the model, is not finite, or both are the same.

    Example:
        >>> a, b = nn.Linear(3, 1), nn.Linear(3, 1)
        >>> line = line_between(a, a, b)
        >>> line.model is a, line.coordinates.tolist()
        (True, [[0.0], [1.0]])
    """
    reader, slots, differences = _differences(model, (a, b), parameters)
    (length,) = _checked(differences, "b")
    details = {"distance": length, "anchors": [[0.0], [1.0]]}
    directions = _made(model, slots, differences, "line", details)
    return Section(reader.standing_at(a), directions, np.array([[0.0], [1.0]]))


def plane_through(
    model: nn.Module, a: Weights, b: Weights, c: Weights, *, parameters: ParameterChoice = None
) -> Section:
    """Make the plane through three sets of weights.

    û = (b − a)/|b − a|, v̂ = w/|w| with w = (c − a) − ⟨c − a, û⟩·û, and θ(x, y) = a + x·û + y·v̂, as in the figures of
    Garipov et al. 2018 (arXiv:1802.10026): orthonormal, so that a circle in the figure is one in parameter space.

    Buffers do not move: see :func:`line_between`, and evaluate with ``batch_norm="recalibrate"``.

    Args:
        model: A module of the right architecture; it is not changed.
        a: Where both coordinates are 0: the model itself (no copy is made then), another module or a state dict of
            the same architecture, or the path of a checkpoint.
        b: Lies on the first axis; likewise.
        c: Lies above it; likewise.
        parameters: As in :func:`line_between`.

    Returns:
        The plane, with coordinates (0, 0), (|b − a|, 0) and (⟨c − a, û⟩, |w|).

    Raises:
        TypeError: If a, b or c is of another kind.
        ValueError: If one does not fit the model, is not finite, or the three lie on one line.

    Example:
        >>> points = [{"weight": torch.tensor([[x, y]])} for x, y in ((0.0, 0.0), (2.0, 0.0), (1.0, 1.0))]
        >>> plane_through(nn.Linear(2, 1, bias=False), *points).coordinates.tolist()
        [[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]
    """
    reader, slots, (u, v) = _differences(model, (a, b, c), parameters)
    long, away = _checked([u, v], "bc")
    u.div_(long)
    x = _inner(v, u)
    v.sub_(u, alpha=x)
    again = _inner(v, u)  # once leaves nearly collinear points oblique
    v.sub_(u, alpha=again)
    height = _inner(v, v) ** 0.5
    if height <= 1e-6 * away:
        raise ValueError(
            f"a, b and c lie on one line (c is {height:.3g} off it, {away:.3g} from a), which spans no plane; use "
            "line_between, or another c"
        )
    v.div_(height)
    coordinates = np.array([[0.0, 0.0], [long, 0.0], [x + again, height]])
    directions = _made(model, slots, [u, v], "plane", {"anchors": coordinates.tolist()})
    return Section(reader.standing_at(a), directions, coordinates)
