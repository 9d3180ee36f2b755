"""Filters of a parameter: the groups of weights that filter normalisation rescales together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from .boxes import Box, boxes, spans
from .parameters import Slot

EPSILON = 1e-10  # keeps the quotient finite for a draw of length zero


def filter_layout(slot: Slot) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Describe which weights of a parameter form one filter.

    ==================================  ============================================
    parameter                           one filter is
    ==================================  ============================================
    convolution (1-D, 2-D, 3-D)         all weights of one output channel
    transposed convolution              all weights of one output channel of a group
    matrix (linear, embedding, RNN)     one row
    GPT-2's ``Conv1D``                  one column (it stores the transpose)
    (1, N, D) embedding, (E, out, in)   one vector along the last dimension
    anything else of 4 or more dims     all weights of one index of the first
    0-d and 1-D                         the whole tensor
    ==================================  ============================================

    Source: Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets", section 4,
    arXiv:1712.09913; the lines on transposed convolutions, columns, embeddings and experts go beyond it.

    Args:
        slot: The parameter and the module that owns it.

    Returns:
        A shape to view the parameter in, and the dimensions of that view over which one filter extends.

    Example:
        >>> module = nn.ConvTranspose2d(4, 6, 3, groups=2)
        >>> filter_layout(Slot("weight", "weight", module.weight, module))
        ((2, 2, 3, 3, 3), (1, 3, 4))
    """
    shape = tuple(slot.parameter.shape)
    module = slot.module
    # Not getattr: on a parametrised layer that computes the weight, and spectral norm then updates its buffers.
    owns_weight = module._parameters.get("weight") is slot.parameter or ".weight.original" in slot.name
    if len(shape) <= 1:
        return (math.prod(shape),), (0,)
    if isinstance(module, _ConvTransposeNd) and owns_weight:
        view = (module.groups, shape[0] // module.groups, *shape[1:])
        return view, (1, *range(3, len(view)))
    if len(shape) == 2 and type(module).__name__ == "Conv1D" and owns_weight:
        return shape, (0,)
    if len(shape) == 3 and not (isinstance(module, nn.Conv1d) and owns_weight):
        return shape, (2,)
    return shape, tuple(range(1, len(shape)))


@dataclass(frozen=True)
class Filters:
    """The filters of one parameter, whose lengths can be taken piece by piece.

    Squares are summed pairwise, block after block, and blocks in float64: torch's own float32 norm is off by a part in
    ten thousand over four million numbers, and by half a percent over sixty million.

    Attributes:
        shape: Of the parameter, at least 1-D.
        dims: Dimensions over which one filter extends.
        rows: How many indices of the first dimension share a filter, if it is none of them.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    rows: int = 1

    def zeros(self, device: torch.device) -> Tensor:
        """Make a tensor of one number per filter.

        Args:
            device: Where.

        Returns:
            Zeros in float64, where there is such a thing; all dimensions of the parameter are kept.
        """
        kept = [1 if dim in self.dims else length for dim, length in enumerate(self.shape)]
        kept[0] //= 1 if 0 in self.dims else self.rows
        return torch.zeros(kept, device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)

    def add_squares(self, squares: Tensor, piece: Tensor, where: Box) -> None:
        """Add the squares of some weights to those of their filters.

        Args:
            squares: From :meth:`zeros`.
            piece: Weights, on the same device.
            where: Which ones.
        """
        piece = piece.float() if piece.element_size() < 4 else piece
        part = (piece * piece).contiguous().sum(self.dims, keepdim=True)  # one order of sums, whatever the layout
        kept = self._kept(where)
        if self.rows == 1:
            squares[kept] += part
        else:
            columns = squares[(slice(None), *kept[1:])]
            columns.index_add_(0, self._row_numbers(where, squares.device), part.to(squares.dtype))

    def at(self, values: Tensor, where: Box) -> Tensor:
        """Find the numbers that belong to some weights.

        Args:
            values: One number per filter.
            where: Which weights.

        Returns:
            A tensor that is broadcast over the weights.
        """
        kept = self._kept(where)
        if self.rows == 1:
            return values[kept]
        return values.index_select(0, self._row_numbers(where, values.device))[(slice(None), *kept[1:])]

    def squares(self, weights: Tensor, device: torch.device, here: Box | None = None) -> Tensor:
        """Sum the squares of all weights that are here.

        Args:
            weights: The parameter, or the part of it that is here; any strides.
            device: Where to sum.
            here: Where the part lies; None for all.

        Returns:
            Σ w² by filter, as :meth:`zeros` has it.
        """
        total = self.zeros(device)
        weights = weights.view(1) if weights.dim() == 0 else weights
        origin = (0,) * weights.dim() if here is None else tuple(side.start for side in here)
        for start, stop in spans(weights.numel()):
            for box in boxes(tuple(weights.shape), start, stop):
                where = tuple(slice(s.start + o, s.stop + o) for s, o in zip(box, origin, strict=True))
                self.add_squares(total, weights[box].to(device), where)
        return total

    def _kept(self, where: Box) -> Box:
        return tuple(slice(0, 1) if dim in self.dims else side for dim, side in enumerate(where))

    def _row_numbers(self, where: Box, device: torch.device) -> Tensor:
        return torch.arange(where[0].start, where[0].stop, device=device) // self.rows


def filters_of(slot: Slot) -> Filters:
    """Describe a parameter's filters in the parameter's own shape.

    Args:
        slot: The parameter and the module that owns it.

    Returns:
        As :func:`filter_layout` has them.
    """
    shape = tuple(slot.parameter.shape) or (1,)
    view, dims = filter_layout(slot)
    if len(view) == len(shape):
        return Filters(shape, dims)
    return Filters(shape, tuple(dim - 1 for dim in dims if dim > 1), view[1])  # the view splits the first dimension


def whole_layer(slot: Slot) -> Filters:
    """Take all of a parameter as one filter.

    Args:
        slot: The parameter.

    Returns:
        That filter.
    """
    shape = tuple(slot.parameter.shape) or (1,)
    return Filters(shape, tuple(range(len(shape))))


def matching(target: Tensor, drawn: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute by what draws are multiplied so that each filter is as long as the parameter's.

    |p_f| / (|d_f| + 1e-10) for each filter f (Li et al. 2018, section 4, arXiv:1712.09913).

    Args:
        target: Σ p² by filter.
        drawn: Σ d² by filter.
        dtype: Of the draws.

    Returns:
        One factor per filter.
    """
    return (target.sqrt() / drawn.sqrt().add_(EPSILON)).to(dtype)


def match_(directions: Tensor, filters: Filters, parameter: Tensor) -> None:
    r"""Rescale draws in place so that each of their filters is as long as the parameter's.

    Args:
        directions: k draws, shape (k, \*parameter.shape).
        filters: The parameter's, from :func:`filters_of` or :func:`whole_layer`.
        parameter: The parameter's values on the draws' device and in their dtype.
    """
    target = filters.squares(parameter, directions.device)
    for drawn in directions.view(len(directions), *filters.shape):
        drawn.mul_(
            filters.at(
                matching(target, filters.squares(drawn, drawn.device), drawn.dtype),
                tuple(slice(0, length) for length in filters.shape),
            )
        )
