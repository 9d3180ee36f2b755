"""Evaluate losses at points around a model."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from .closure import Closure
from .directions import Directions
from .modes import BatchNorm
from .objective import Objective
from .points import Points
from .provenance import provenance
from .surface import LossSurface
from .sweep import Engine, sweep


def evaluate(
    model: nn.Module,
    objective: Objective | Closure,
    directions: Directions,
    points: Points,
    *,
    engine: Engine = "auto",
    batch_norm: BatchNorm = "eval",
    dropout: bool = False,
    chunk: int | None = None,
    progress: bool = False,
) -> LossSurface:
    """Evaluate the loss L(θ + Σ_j c_j·d_j) at every point c.

    The definition is Eq. 1 of Goodfellow et al. 2014 (arXiv:1412.6544) for one direction and of Li et al. 2018
    (arXiv:1712.09913, section 3) for two. Afterwards, also after an exception or an interrupt, the model's parameters
    and their storage, buffers, gradients and modes, the random state and the loader's are bitwise what they were.

    Args:
        model: Any module.
        objective: An :class:`Objective`, or a closure that returns the loss as a 0-d tensor and does nothing else.
        directions: k directions of this model.
        points: N points in k dimensions.
        engine: "inplace" moves the weights in place, one point at a time; "batched" evaluates a chunk of points in one
            pass by vmap, and falls back to "inplace" (logged once) where the model cannot; "auto" chooses by a fixed
            rule on device and model. The engines agree to 1e-5 relative in float32 and 1e-12 in float64.
        batch_norm: "eval" uses running statistics; "batch" the statistics of each batch; "recalibrate" re-estimates
            the running statistics at each point with one more pass over the data.
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per pass over the data; chosen by default.
        progress: Show a progress bar on standard error.

    Returns:
        The surface. A loss that is not finite is a value like any other.

    Raises:
        TypeError: If an argument is of the wrong kind, or the loss is not a tensor.
        ValueError: If directions do not fit the model, points do not fit the directions, the loss is not 0-d, the
            closure runs a backward pass, or an option has an unknown value.

    Example:
        >>> from lrscape import landscape
        >>> model = nn.Linear(1, 1, bias=False)
        >>> directions = landscape.directions_from_vectors(model, [[1.0]])
        >>> _ = nn.init.constant_(model.weight, 1.0)
        >>> landscape.evaluate(model, lambda: model.weight.sum() ** 2, directions, landscape.line(3)).losses
        array([0., 1., 4.])
    """
    surface = sweep(
        model,
        objective,
        directions,
        points,
        engine=engine,
        batch_norm=batch_norm,
        dropout=dropout,
        chunk=chunk,
        progress=progress,
    )
    return replace(surface, provenance={**provenance(model, directions, points), **surface.provenance})
