"""Evaluate losses at points around a model."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .closure import Closure
from .directions import Directions
from .engines import Engine, Memory
from .modes import BatchNorm
from .objective import Objective
from .points import Points
from .provenance import provenance
from .sharing import Share
from .surface import LossSurface
from .sweep import sweep


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
    threads: int | None = None,
    memory: Memory | None = None,
    autocast: torch.dtype | None = None,
    tf32: bool | None = None,
    cuda_graph: bool = False,
    share: Share = "auto",
    partial: str | os.PathLike[str] | None = None,
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
        engine: How; the engines agree to 1e-5 relative in float32 and 1e-12 in float64, and one with the same settings
            gives the same bits again. "inplace" moves the model's own weights, one point at a time. "batched"
            evaluates a chunk of points in one pass by vmap. "threads" gives each of several workers on the CPU a copy
            of the model; it needs an :class:`Objective`. Where a model or objective does not allow the latter two,
            they fall back to "inplace" (logged once). "auto" times them on the first batch and a few points of the
            scan, or follows a fixed rule on device and model if the scan is short.
        batch_norm: "eval" uses running statistics; "batch" the statistics of each batch; "recalibrate" re-estimates
            the running statistics at each point with one more pass over the data.
        dropout: Keep dropout on, with the same masks at every point.
        chunk: Points per pass over the data; chosen by default. Halved where memory does not suffice.
        threads: Workers of engine="threads"; by default as many as torch uses for one operation.
        memory: "low" keeps neither directions nor a backup of the weights on the device: random directions made with
            ``memory="low"`` are drawn again for each move, and the backup lies in a file that is mapped into memory,
            or in host memory. Slower; the default for such directions.
        autocast: Evaluate under ``torch.autocast`` with this dtype; by default as the caller has set it.
        tf32: Allow or forbid TF32 on NVIDIA GPUs; by default as the caller has set it.
        cuda_graph: Let the in-place engine record the forward pass as a CUDA graph and replay it at every point,
            after comparing two replays with plain runs. What cannot be recorded runs plainly (logged once).
        share: How the processes of torch.distributed share the work, if it is initialised; all must call this.
            "points": all read the same data, each takes some points. "batches": each takes all points and some
            batches. "data": each has data of its own, as with a DistributedSampler or a closure, and the losses are
            averaged over all of it. "auto" finds out which; "none" leaves the other processes out. The surface is
            the same on every rank.
        partial: File for the points that are finished, written every few seconds. If it exists, the scan goes on
            from it, and the result is bitwise that of a scan that was never cut off; it must be a file of the same
            scan. It stays after the scan.
        progress: Show a progress bar on standard error.

    Returns:
        The surface. A loss that is not finite is a value like any other.

    Raises:
        TypeError: If an argument is of the wrong kind, or the loss is not a tensor.
        ValueError: If directions do not fit the model, points do not fit the directions, the loss is not 0-d, the
            closure runs a backward pass, an option has an unknown value, or ``partial`` is a file of another scan.
        RuntimeError: If another rank failed.

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
        threads=threads,
        memory=memory,
        autocast=autocast,
        tf32=tf32,
        cuda_graph=cuda_graph,
        share=share,
        partial=partial,
        progress=progress,
        trial=True,
    )
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return replace(surface, provenance={**provenance(model, directions, points), **surface.provenance})
