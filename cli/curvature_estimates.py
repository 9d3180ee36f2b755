"""What ``lrscape curvature`` estimates, all on one operator, and the file that it goes to."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from ..landscape import (
    CurvatureOperator,
    Directions,
    GradientCurvature,
    SpectralDensity,
    TopEigenvalues,
    Trace,
    by_layer,
    directions_from_vectors,
    gradient_curvature,
    hessian,
    spectral_density,
    top_eigenvalues,
    trace,
    true_losses,
)
from ..landscape.files import atomic_write
from .measurement import Measurement
from .output import Output, plain

SCHEMA = 1


class Watched(CurvatureOperator):
    """An operator that tells a progress bar of every product.

    Args:
        operator: What multiplies.
        bar: The progress bar.
    """

    def __init__(self, operator: CurvatureOperator, bar: Any) -> None:
        super().__init__(operator.slots)
        self._operator, self._bar = operator, bar

    def _apply(self, vectors: Tensor) -> Tensor:
        product = self._operator.matmat(vectors)
        self._bar.update(len(vectors))
        return product

    def gradient(self) -> Tensor:
        """Compute the gradient."""
        return self._operator.gradient()

    def block(self, names: Iterable[str]) -> CurvatureOperator:
        """Take a diagonal block, which tells the same bar."""
        return Watched(self._operator.block(names), self._bar)


@dataclass(frozen=True, eq=False)
class Estimates:
    """All that was estimated.

    Attributes:
        loss: At the checkpoint.
        metrics: Likewise, by name.
        trace: Of the Hessian.
        largest: Its largest eigenvalues.
        smallest: Its smallest ones.
        gradient: Curvature along the gradient.
        density: Of the spectrum, None if it was left out.
        layers: Sharpness by layer; none if they were left out.
        sizes: Number of parameters by layer, that of all under None.
        directions: Along the eigenvectors of the two largest eigenvalues.
        hvps: Products in all.
    """

    loss: float
    metrics: Mapping[str, float]
    trace: Trace
    largest: TopEigenvalues
    smallest: TopEigenvalues
    gradient: GradientCurvature
    density: SpectralDensity | None
    layers: Mapping[str, TopEigenvalues]
    sizes: Mapping[str | None, int]
    directions: Directions
    hvps: int


def estimate(measurement: Measurement, arguments: argparse.Namespace, output: Output) -> Estimates:
    """Estimate everything that was asked for.

    Args:
        measurement: Model, data and loss.
        arguments: Of the command.
        output: Says whether to show progress.

    Returns:
        The estimates.

    Raises:
        ValueError: If the loss at the checkpoint is not finite.
    """
    model, objective, seed = measurement.model, measurement.objective, arguments.seed
    modes = {"batch_norm": arguments.batch_norm, "dropout": arguments.dropout}
    here: Any = true_losses(model, objective, [model], **modes)
    loss = float(here.losses[0])
    if not np.isfinite(loss):
        raise ValueError(
            f"the loss of {measurement.report.path} is {loss} on this data, so that it has no curvature; check the "
            "checkpoint, the data and --loss"
        )
    settings = {**modes, "parameters": arguments.parameters, "mode": arguments.mode, "chunk": arguments.chunk}
    with (
        tqdm(disable=not output.progress, desc="curvature", unit=" products", leave=False) as bar,
        hessian(model, objective, **settings) as operator,
    ):
        watched = Watched(operator, bar)
        ends = {"tolerance": arguments.tolerance, "seed": seed}
        bar.set_description("eigenvalues")
        largest = top_eigenvalues(model, watched, arguments.top, **ends)
        smallest = top_eigenvalues(model, watched, arguments.smallest, which="smallest", **ends)
        gradient = gradient_curvature(model, watched)
        bar.set_description("trace")
        found = trace(model, watched, tolerance=arguments.trace_error, max_hvps=arguments.products, seed=seed)
        density, layers = None, {}
        if not arguments.no_density:
            bar.set_description("density")
            density = spectral_density(model, watched, vectors=arguments.vectors, steps=arguments.steps, seed=seed)
        groups = watched.layers()
        if not arguments.no_layers:
            bar.set_description("layers")
            layers = by_layer(top_eigenvalues, model, watched, **ends)
        counts = {slot.canonical: slot.parameter.numel() for slot in watched.slots}
        sizes: dict[str | None, int] = {None: watched.size}
        sizes |= {layer: sum(counts[name] for name in own) for layer, own in groups.items()}
    return Estimates(
        loss=loss,
        metrics={name: float(values[0]) for name, values in here.metrics.items()},
        trace=found,
        largest=largest,
        smallest=smallest,
        gradient=gradient,
        density=density,
        layers=layers,
        sizes=sizes,
        directions=directions_from_vectors(model, largest.vectors[:2], parameters=arguments.parameters),
        hvps=watched.products + sum(one.hvps for one in layers.values()),
    )


def save(path: Path, found: Estimates, record: Mapping[str, Any]) -> None:
    """Write the result, whole or not at all.

    Args:
        path: An .npz file gets the arrays and the record, a .json file the record.
        found: The estimates.
        record: For ``--json``.
    """
    text = json.dumps(plain({"schema": SCHEMA, **record}), allow_nan=False)
    if path.suffix.lower() == ".json":
        with atomic_write(path) as file:
            file.write(f"{text}\n".encode())
        return
    arrays: dict[str, Any] = {
        "header": np.frombuffer(text.encode(), dtype=np.uint8),
        "largest": found.largest.eigenvalues,
        "largest_residuals": found.largest.residuals,
        "smallest": found.smallest.eigenvalues,
        "smallest_residuals": found.smallest.residuals,
        "trace_samples": found.trace.samples,
        "layer_sharpness": np.array([one.eigenvalues[0] for one in found.layers.values()]),
        "layer_residuals": np.array([one.residuals[0] for one in found.layers.values()]),
    }
    if found.density is not None:
        names = ("grid", "density", "standard_error", "ritz_values", "ritz_weights")
        arrays |= {f"density_{name}": getattr(found.density, name) for name in names}
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
