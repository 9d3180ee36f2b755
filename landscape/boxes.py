"""Long tensors, one piece at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

Box = tuple[slice, ...]

BLOCK = 2**20  # elements, a multiple of 16; part of the definition of generator="device"
_GROUP = 16  # torch transforms normal numbers on the CPU in groups of so many, and fewer than that in another way


def spans(count: int, block: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Cut a range of positions into blocks; the last one takes up to 15 more rather than leave them over.

    Args:
        count: How many positions.
        block: How many in one block, a multiple of 16.

    Yields:
        First position and the one after the last.

    Example:
        >>> list(spans(100, 32)), list(spans(20, 32))
        ([(0, 32), (32, 64), (64, 100)], [(0, 20)])
    """
    start = 0
    while start < count:
        stop = start + block
        if count - stop < _GROUP:
            stop = count
        yield start, stop
        start = stop


def boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[Box]:
    """Cut a range of row-major positions into boxes.

    Args:
        shape: Of at least one dimension.
        start: First position.
        stop: The one after the last.

    Yields:
        Slices of the boxes, in the order of their positions; each box's positions follow one another.

    Example:
        >>> [tuple((s.start, s.stop) for s in box) for box in boxes((4, 3), 1, 10)]
        [((0, 1), (1, 3)), ((1, 3), (0, 3)), ((3, 4), (0, 1))]
    """
    if start >= stop:
        return
    if len(shape) == 1:
        yield (slice(start, stop),)
        return
    inner = math.prod(shape[1:])
    first, last = -(-start // inner), stop // inner  # rows that are there from end to end
    if first > last:
        for rest in boxes(shape[1:], start - last * inner, stop - last * inner):
            yield (slice(last, first), *rest)
        return
    for rest in boxes(shape[1:], start - (first - 1) * inner, inner):
        yield (slice(first - 1, first), *rest)
    if first < last:
        yield (slice(first, last), *(slice(0, n) for n in shape[1:]))
    for rest in boxes(shape[1:], 0, stop - last * inner):
        yield (slice(last, last + 1), *rest)


@dataclass(frozen=True)
class Piece:
    """Part of a block that lies in one box.

    Attributes:
        where: The box in the whole tensor.
        local: The same box in the part of the tensor that is here.
        take: Where the box's surroundings lie in the block.
        lengths: Shape of these surroundings.
        inner: The box in them; None for all.
    """

    where: Box
    local: Box
    take: slice
    lengths: tuple[int, ...]
    inner: Box | None

    @property
    def size(self) -> int:
        """Number of positions in the box."""
        return math.prod(side.stop - side.start for side in self.where)

    def of(self, block: Tensor) -> Tensor:
        """Find the piece in the block.

        Args:
            block: Shape (number of positions,).

        Returns:
            A view in the shape of the box.
        """
        view = block[self.take].view(self.lengths)
        return view if self.inner is None else view[self.inner]


def pieces(shape: tuple[int, ...], start: int, stop: int, here: Box | None = None) -> list[Piece]:
    """Cut a block of row-major positions into boxes, so far as they are here.

    Args:
        shape: Of the whole tensor.
        start: First position of the block.
        stop: The one after the last.
        here: The part of the tensor that this process holds; None for all.

    Returns:
        The pieces, in the order of their positions.

    Example:
        >>> [piece.local for piece in pieces((4, 3), 0, 12, (slice(2, 4), slice(0, 3)))]
        [(slice(0, 2, None), slice(0, 3, None))]
    """
    if here is None and stop - start == math.prod(shape):
        everything = tuple(slice(0, length) for length in shape)
        return [Piece(everything, everything, slice(0, stop - start), shape, None)]
    found, offset = [], 0
    for box in boxes(shape, start, stop):
        lengths = tuple(side.stop - side.start for side in box)
        take = slice(offset, offset + math.prod(lengths))
        offset = take.stop
        if here is None:
            found.append(Piece(box, box, take, lengths, None))
            continue
        both = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, here, strict=True)]
        if all(low < high for low, high in both):
            where = tuple(slice(low, high) for low, high in both)
            inner = tuple(slice(low - a.start, high - a.start) for (low, high), a in zip(both, box, strict=True))
            local = tuple(slice(low - b.start, high - b.start) for (low, high), b in zip(both, here, strict=True))
            found.append(Piece(where, local, take, lengths, inner))
    return found
