"""Filters of a parameter: the groups of weights that filter normalisation rescales together."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

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


def match_filters_(directions: Tensor, slot: Slot, parameter: Tensor) -> None:
    """Rescale draws in place so that each of their filters is as long as the parameter's.

    d_f ← d_f · |p_f| / (|d_f| + 1e-10), filter by filter (Li et al. 2018, section 4, arXiv:1712.09913).

    Args:
        directions: k contiguous draws, shape (k, *parameter.shape).
        slot: The parameter and the module that owns it.
        parameter: The parameter's values on the draws' device and in their dtype.
    """
    view, dims = filter_layout(slot)
    drawn = directions.view(len(directions), *view)
    target = torch.linalg.vector_norm(parameter.reshape(view), dim=dims, keepdim=True)
    length = torch.linalg.vector_norm(drawn, dim=[1 + dim for dim in dims], keepdim=True)
    drawn.mul_(target / (length + EPSILON))


def match_layer_(directions: Tensor, parameter: Tensor) -> None:
    """Rescale draws in place so that each is as long as the whole parameter.

    d ← d · |p| / (|d| + 1e-10).

    Args:
        directions: k contiguous draws, shape (k, *parameter.shape).
        parameter: The parameter's values on the draws' device and in their dtype.
    """
    drawn = directions.view(len(directions), -1)
    length = torch.linalg.vector_norm(drawn, dim=1, keepdim=True)
    drawn.mul_(torch.linalg.vector_norm(parameter) / (length + EPSILON))
