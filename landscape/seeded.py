"""Random directions that are drawn again, block by block, whenever they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boxes import BLOCK, Piece, pieces, spans
from .draws import Seed, Stream, stream_seed
from .filters import Filters, matching
from .gram import Gram, mix_, mixing
from .shards import Sharding

Drawn = Iterator[tuple[int, list[Tensor]]]


@dataclass(frozen=True, eq=False)
class Source:
    """What the directions of one parameter are drawn again from.

    Attributes:
        name: Canonical name of the parameter.
        size: Its shape.
        dtype: Of the directions.
        device: Of the directions.
        strides: Of the parameter, where it is dense and of another layout than row by row; else None.
        draws_on: Device of the random stream.
        spread: How the parameter is spread over ranks, if it is.
        filters: Its filters, if lengths are matched.
        factors: By what each filter of each draw is multiplied.
        moves: False where the directions are zero.
    """

    name: str
    size: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    strides: tuple[int, ...] | None
    draws_on: torch.device
    spread: Sharding | None
    filters: Filters | None
    factors: list[Tensor]
    moves: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape, (1,) for a number."""
        return self.size or (1,)

    def zeros(self, k: int) -> Tensor:
        r"""Make room for the directions that are here, laid out in memory like the parameter.

        Args:
            k: Their number.

        Returns:
            Zeros of shape (k, \*part).
        """
        here = None if self.spread is None else self.spread.here
        part = self.shape if here is None else tuple(side.stop - side.start for side in here)
        if self.strides is None or here is not None:
            return torch.zeros(k, *part, device=self.device, dtype=self.dtype)
        strides = (math.prod(part), *self.strides)
        return torch.empty_strided((k, *part), strides, device=self.device, dtype=self.dtype).zero_()

    def blocks(
        self, seed: Seed, chosen: Sequence[int], into: Tensor | None = None
    ) -> Iterator[tuple[int, int, Iterator[tuple[int, Tensor]]]]:
        """Draw the streams of some directions side by side, as they are before lengths are matched.

        Args:
            seed: The user's seed.
            chosen: Numbers of the directions.
            into: Draw into this float32 tensor, shape (k, number of weights).

        Yields:
            First position of a block, the one after the last, and an iterator over direction and draws, which must be
            used up before the next block; the draws lie in memory that is used again, unless ``into`` is given.
        """
        count = math.prod(self.shape)
        streams = [(j, Stream(stream_seed(seed, j, self.name), self.draws_on)) for j in chosen]
        if into is not None:
            for start, stop in spans(count):
                yield start, stop, ((j, stream.fill(into[j, start:stop])) for j, stream in streams)
            return
        buffer = torch.empty(min(count, BLOCK + 15), device=self.draws_on, dtype=torch.float32)
        for start, stop in spans(count):
            yield start, stop, ((j, stream.fill(buffer[: stop - start])) for j, stream in streams)

    def matched(self, j: int, piece: Piece, block: Tensor) -> Tensor:
        """Cut a piece out of a block of draws and give its filters their lengths.

        Args:
            j: Number of the direction.
            piece: Which part.
            block: Draws.

        Returns:
            The piece, which may lie in the block's memory.
        """
        step = piece.of(block).to(self.device, self.dtype)
        return step if self.filters is None else step.mul_(self.filters.at(self.factors[j], piece.where))


def measured(source: Source, seed: Seed, k: int, target: Tensor | None, *, keep: bool) -> Tensor | None:
    r"""Draw all directions of a parameter once, to find by what its filters are multiplied.

    Args:
        source: Its factors are filled in.
        seed: The user's seed.
        k: Number of directions.
        target: Σ p² by filter, on the device of the stream; None where lengths are not matched.
        keep: Keep what is drawn.

    Returns:
        The finished directions of what is here, shape (k, \*part), if they are kept.
    """
    here = None if source.spread is None else source.spread.here
    kept = source.zeros(k) if keep else None
    if source.moves and (keep or target is not None):
        squares = target.new_zeros(k, *target.shape) if target is not None else None
        at_once = (
            here is None
            and source.strides is None
            and source.dtype == torch.float32
            and source.device == source.draws_on
        )
        into = kept.view(k, -1) if kept is not None and at_once else None
        for start, stop, drawn in source.blocks(seed, range(k), into):
            everything = pieces(source.shape, start, stop)
            mine = everything if here is None else pieces(source.shape, start, stop, here)
            for j, block in drawn:
                if source.filters is not None and squares is not None:
                    for piece in everything:
                        source.filters.add_squares(squares[j], piece.of(block), piece.where)
                if kept is not None and into is None:
                    for piece in mine:
                        kept[j][piece.local] = piece.of(block).to(source.device, source.dtype)
        if source.filters is not None and target is not None and squares is not None:
            source.factors.extend(matching(target, squares, source.dtype).to(source.device))
            if kept is not None:
                box = here or tuple(slice(0, length) for length in source.shape)
                for one, factor in zip(kept, source.factors, strict=True):
                    one.mul_(source.filters.at(factor, box))
    return kept if kept is None or source.size else kept.view(k)


class SeededTensors(Mapping[str, Tensor]):
    r"""Directions by parameter name, of which only seeds and lengths of filters are in memory.

    Looking a name up draws that parameter's directions, shape (k, \*parameter.shape), anew each time.

    Args:
        sources: One per parameter.
        count: k.
        seed: The user's seed.
        orthogonal: Mix the directions so that they are orthogonal as whole vectors.
    """

    def __init__(self, sources: Sequence[Source], count: int, seed: Seed, *, orthogonal: bool) -> None:
        self.count = count
        self._sources = {source.name: source for source in sources}
        self._seed = seed
        self._plain_gram: NDArray[np.float64] | None = None
        self.mixing: NDArray[np.float64] | None = None
        if orthogonal:
            self.mixing = mixing(self.gram())

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __getitem__(self, name: str) -> Tensor:
        source = self._sources[name]
        found = source.zeros(self.count)
        for places, drawn in self.walk(name, range(self.count)):
            for j, steps in drawn:
                for place, step in zip(places, steps, strict=True):
                    found[j][place.local] = step
        if self.mixing is not None:
            mix_(found, self.mixing)
        found = found if source.size else found.view(self.count)
        return found if source.spread is None else source.spread.stacked(found, source.size)

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of a parameter, without drawing its directions.

        Args:
            name: Its canonical name.

        Returns:
            The shape.
        """
        return self._sources[name].size

    def dtype(self, name: str) -> torch.dtype:
        """Give the dtype of a parameter's directions.

        Args:
            name: Its canonical name.

        Returns:
            The dtype.
        """
        return self._sources[name].dtype

    def walk(self, name: str, chosen: Sequence[int], *, whole: bool = False) -> Iterator[tuple[list[Piece], Drawn]]:
        """Draw some directions of a parameter side by side, block by block, unmixed.

        Args:
            name: Its canonical name.
            chosen: Numbers of the directions.
            whole: Draw the whole parameter, not only the part that is here.

        Yields:
            The pieces of a block, and an iterator over direction and steps, one for each piece, which must be used up
            before the next block; the steps lie in memory that is used again. Nothing where the directions are zero.
        """
        source = self._sources[name]
        if not source.moves or not chosen:
            return
        here = None if source.spread is None or whole else source.spread.here
        for start, stop, drawn in source.blocks(self._seed, chosen):
            places = pieces(source.shape, start, stop, here)
            yield places, ((j, [source.matched(j, place, block) for place in places]) for j, block in drawn)

    def row_bytes(self, name: str) -> Iterator[bytes]:
        """Draw the whole of a parameter's directions one after the other, as bytes.

        Args:
            name: Its canonical name.

        Yields:
            Block after block.
        """
        source = self._sources[name]
        if not source.moves:
            yield bytes(self.count * math.prod(source.shape) * source.dtype.itemsize)
            return
        for i in range(self.count):
            mixed = np.eye(self.count)[i] if self.mixing is None else self.mixing[i]
            chosen = [i, *(j for j in range(i) if mixed[j] != 0)]  # in the order in which mix_ adds them
            for _, drawn in self.walk(name, chosen, whole=True):
                _, steps = next(drawn)
                sums = [step * mixed[i] for step in steps]
                for j, others in drawn:
                    for total, other in zip(sums, others, strict=True):
                        total.add_(other, alpha=float(mixed[j]))
                for total in sums:
                    yield total.cpu().numpy().tobytes()

    def gram(self) -> NDArray[np.float64]:
        """Compute the inner products of all pairs of directions; the first call draws them all once.

        Returns:
            Array of shape (k, k).
        """
        if self._plain_gram is None:
            gram = Gram(self.count)
            for name, source in self._sources.items():
                for places, drawn in self.walk(name, range(self.count)):
                    size = sum(place.size for place in places)  # none is here, maybe, but all ranks add up the same
                    block = torch.empty(self.count, size, device=source.device, dtype=source.dtype)
                    for j, steps in drawn:
                        torch.cat([step.flatten() for step in steps] or [block[j]], out=block[j])
                    gram.add(block, source.spread)
            self._plain_gram = gram.total()
        return self._plain_gram if self.mixing is None else self.mixing @ self._plain_gram @ self.mixing.T
