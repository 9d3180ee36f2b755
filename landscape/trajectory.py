"""The path of a training run, seen in the plane in which it moves most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .directions import Directions
from .parameters import ParameterChoice, Slot, left_out, movable
from .points import Points, grid_around
from .weights import Weights, WeightsReader, compute_dtype, everything, unflatten

Center = Literal["final", "mean"]
BLOCK = 8
_COLUMNS = 2**18  # parameters per product, so that only this many of each row are in float64 at a time
_RANK = 1e-12  # of the largest eigenvalue; below, an eigenvector is rounding


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The principal directions of a run's checkpoints, and the run projected on them.

    Coordinates are distances in parameter space from the origin:
    ``evaluate(t.model, objective, t.directions, t.points(25))`` is the contour under the path.

    Attributes:
        model: A model that stands at the origin: the final checkpoint, or the mean of all.
        directions: k orthonormal directions, the one with the largest share first.
        path: Shape (T, k): the checkpoints projected.
        distance: Shape (T,): how far each checkpoint lies from the plane. The contour's loss under the path is that
            of the projection, so compare :func:`true_losses`.
        explained_variance: Shape (k,): each direction's share of Σ_t |θ_t − origin|².
        spectrum: Shape (T,): the shares of all directions, descending; they sum to 1.
        center: "final" or "mean".
    """

    model: nn.Module
    directions: Directions
    path: NDArray[np.float64]
    distance: NDArray[np.float64]
    explained_variance: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    center: Center

    def points(self, n: int = 25, margin: float = 0.25) -> Points:
        """Make a grid that holds the path, the origin exactly.

        Args:
            n: Points along each dimension.
            margin: Room on each side, as a fraction of the widest extent of the path.

        Returns:
            The grid.
        """
        return grid_around(self.path, n, margin)


class _Rows:
    """The checkpoints as rows θ_t − θ_final, read when asked for and not kept."""

    def __init__(self, model: nn.Module, checkpoints: Sequence[Weights], slots: list[Slot]) -> None:
        self.reader = WeightsReader(model)
        self._checkpoints, self._slots = checkpoints, slots
        self._final = self.reader.vector(checkpoints[-1], slots, compute_dtype(slots))
        self._check(self._final, len(checkpoints) - 1)

    @staticmethod
    def _check(vector: Tensor, index: int) -> None:
        if not bool(torch.isfinite(vector).all()):
            raise ValueError(
                f"checkpoint {index} (from 0) holds weights that are not finite; leave out what came after divergence"
            )

    def __len__(self) -> int:
        return len(self._checkpoints)

    def __getitem__(self, index: int) -> Tensor:
        row = self.reader.vector(self._checkpoints[index], self._slots, self._final.dtype).sub_(self._final)
        self._check(row, index)
        return row

    def block(self, start: int, stop: int) -> Tensor:
        block = self._final.new_empty(stop - start, len(self._final))
        for i in range(start, stop):
            block[i - start] = self[i]
        return block


def _columns(rows: Tensor) -> Iterator[Tensor]:
    return (piece.double() for piece in torch.split(rows, _COLUMNS, dim=-1))


def _gram(rows: _Rows, block: int) -> NDArray[np.float64]:
    """Compute all inner products with at most block + 1 rows in memory."""
    count = len(rows)
    gram = torch.zeros(count, count, dtype=torch.float64)
    for start in range(0, count, block):
        stop = min(start + block, count)
        held = rows.block(start, stop)
        for piece in _columns(held):
            gram[start:stop, start:stop] += piece @ piece.T
        for j in range(stop, count):
            for piece, other in zip(_columns(held), _columns(rows[j]), strict=True):
                gram[start:stop, j] += piece @ other
    return (gram.triu() + gram.triu(1).T).numpy()


def _principal(gram: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute eigenvalues and -vectors, largest first, with signs that do not depend on the library."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    rank = int((values > _RANK * values[0]).sum()) if values[0] > 0 else 0
    if rank < k:
        raise ValueError(
            f"k={k} directions were asked for, but the {len(gram)} checkpoints span only {rank}; give more different "
            "checkpoints or a smaller k"
        )
    vectors = vectors[:, :k]
    largest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[largest, np.arange(k)])


def _combine(rows: _Rows, weights: NDArray[np.float64]) -> Tensor:
    """Compute weightsᵀ·rows, shape (columns of weights, P), in one pass."""
    total: Tensor | None = None
    for row, factors in ((rows[t], weights[t]) for t in range(len(rows))):
        if total is None:
            total = torch.zeros(len(factors), len(row), dtype=torch.float64)
        for j, factor in enumerate(factors.tolist()):
            total[j].add_(row, alpha=factor)
    assert total is not None
    return total


def _shifted(model: nn.Module, slots: list[Slot], step: Tensor) -> nn.Module:
    steps = unflatten(step[None], slots)
    with torch.no_grad():
        for slot in movable(model, lambda name, _: name in steps):
            slot.parameter.add_(steps[slot.canonical][0])
    return model


def trajectory(
    model: nn.Module,
    checkpoints: Sequence[Weights],
    *,
    k: int = 2,
    center: Center = "final",
    parameters: ParameterChoice = None,
    block: int = BLOCK,
) -> Trajectory:
    """Find the plane in which the checkpoints of a run spread most, and project the run on it.

    With rows x_t = θ_t − origin, X = U S Vᵀ: the directions are the first k rows of Vᵀ, the path is U S (Li et al.
    2018, section 7, arXiv:1712.09913). Both come from the eigenvectors of the T×T matrix X Xᵀ. Whatever T is, memory
    holds one copy of the model, the checkpoint that is read, block + 2 vectors of its parameters, and later the k
    directions in float64; each checkpoint is read about T/(2·block) + 2 times.

    Li et al. write X with the final weights as origin, which is center="final"; their code hands X to a PCA that also
    subtracts the mean, so its directions are those of center="mean" while the plane goes through the final weights.

    Buffers do not move. Running statistics of BatchNorm belong to one checkpoint alone; evaluate with
    ``batch_norm="recalibrate"``.

    Signs are such that the largest coordinate of the path along each direction is positive.

    Args:
        model: A module of the right architecture; it is not changed.
        checkpoints: T of them in the order of training: paths, state dicts, or modules. Any sequence will do, also one
            that loads an item when it is asked for.
        k: Number of directions.
        center: "final" for the last checkpoint as origin, "mean" for the mean of all.
        parameters: Restricts what moves, frozen parameters included; the others stay as in the last checkpoint. By
            default every parameter moves.
        block: Checkpoints held at a time.

    Returns:
        The trajectory.

    Raises:
        TypeError: If checkpoints is no sequence of weights.
        ValueError: If they span fewer than k directions, one does not fit the model or is not finite, or an option
            has another value.

    Example:
        >>> states = [{"weight": torch.tensor([[x, y]])} for x, y in ((3.0, 0.0), (2.0, 1.0), (0.0, 0.0))]
        >>> made = trajectory(nn.Linear(2, 1, bias=False), states)
        >>> made.path.shape, float(made.explained_variance.sum().round(6)), made.distance.round(6).tolist()
        ((3, 2), 1.0, [0.0, 0.0, 0.0])
    """
    if not isinstance(checkpoints, Sequence) or isinstance(checkpoints, str | bytes):
        raise TypeError(f"checkpoints must be a sequence of weights, got {type(checkpoints).__name__}; pass a list")
    if center not in get_args(Center):
        raise ValueError(f"center must be 'final' or 'mean', got {center!r}")
    if k < 1 or block < 1:
        raise ValueError(f"k and block must be at least 1, got k={k} and block={block}")
    if len(checkpoints) < k + 1:
        raise ValueError(
            f"k={k} directions need at least {k + 1} checkpoints, got {len(checkpoints)}; give more, or a smaller k"
        )
    slots = movable(model, everything if parameters is None else parameters)
    rows = _Rows(model, checkpoints, slots)
    count = len(rows)
    gram = _gram(rows, block)
    if center == "mean":
        gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    values, vectors = _principal(gram, k)
    roots = np.sqrt(values[:k])
    path = vectors * roots
    weights = vectors / roots
    if center == "mean":
        weights = np.concatenate([weights - weights.mean(axis=0), np.full((count, 1), 1 / count)], axis=1)
    combined = _combine(rows, weights)
    origin = rows.reader.standing_at(checkpoints[-1])
    if center == "mean":
        origin = _shifted(rows.reader.copied(origin), slots, combined[k])
    shares = values / values.sum()
    details = {"center": center, "checkpoints": count, "explained_variance": shares[:k].tolist()}
    return Trajectory(
        model=origin,
        directions=Directions(unflatten(combined[:k], slots), "trajectory", details, left_out(model, slots)),
        path=path,
        distance=np.sqrt(np.maximum(np.diag(gram) - (path**2).sum(axis=1), 0.0)),
        explained_variance=shares[:k],
        spectrum=shares,
        center=center,
    )
