"""The directions of ``lrscape probe``, and the points along them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from .factories import build_model
from .measurement import Measurement, load_into
from .plan import BIAS, NORM, SEED, TOLERANCE, Plan, coarse

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ..landscape import Directions, LossSurface, Points, Section


@dataclasses.dataclass(frozen=True, eq=False)
class Anchors:
    """Checkpoints that a line or plane goes through.

    Attributes:
        names: Their paths.
        models: Their weights.
        coordinates: Where they lie, shape (number, dims).
    """

    names: tuple[str, ...]
    models: tuple[nn.Module, ...]
    coordinates: NDArray[np.float64]


def make_directions(
    arguments: argparse.Namespace, plan: Plan, measurement: Measurement
) -> tuple[Directions, Points, Anchors | None]:
    """Make what the plan asks for.

    Args:
        arguments: Of the command.
        plan: From its options.
        measurement: With the model.

    Returns:
        Directions, points along them, and the checkpoints that define them, if any do.

    Raises:
        ValueError: If a file holds another number of directions than the plan needs.
    """
    from .. import landscape

    if arguments.toward or arguments.through:
        return _section(arguments, plan, measurement)
    if arguments.load_directions:
        directions = landscape.Directions.load(arguments.load_directions, measurement.model)
        details = {**directions.details, "directions_file": str(arguments.load_directions)}
        directions = dataclasses.replace(directions, details=details)
        dims = len(directions)
        if plan.dims not in {None, dims} or dims > 3 or (plan.adaptive and dims != 2):
            needed = plan.dims or (2 if plan.adaptive else "at most 3")
            raise ValueError(
                f"{arguments.load_directions} holds {dims} direction{'s' * (dims > 1)}, but {needed} "
                "are needed; change --grid, --line, --cube, --dims or --adaptive"
            )
    else:
        directions = _drawn(arguments, plan.dims or 2, measurement)
    dims = len(directions)
    n, span = plan.points_a_side(dims), 1.0 if plan.span is None else plan.span
    points = landscape.line(n, span) if dims == 1 else landscape.grid(n, span, dims)
    return directions, points, None


def _drawn(arguments: argparse.Namespace, dims: int, measurement: Measurement) -> Directions:
    """Draw random directions, and put the gradient where it was asked for."""
    from .. import landscape

    model = measurement.model
    norm: Any = arguments.norm or NORM
    bias: Any = arguments.bias or BIAS
    kinds = [*(arguments.directions or []), *["random"] * dims][:dims]
    seed = SEED if arguments.seed is None else arguments.seed
    parts: list[Directions] = []
    number = kinds.count("random")
    if number:
        parts.append(
            landscape.random_directions(
                model,
                number,
                norm="none" if norm == "unit" else norm,
                bias=bias,
                orthogonal=arguments.orthogonal and number == dims,
                seed=seed,
                parameters=arguments.parameters,
                memory=arguments.memory if norm != "unit" and number == dims else "normal",
            )
        )
        if norm == "unit":
            parts[0] = landscape.normalise(parts[0], model, "unit")
    if "gradient" not in kinds:
        return parts[0]
    modes = {name: measurement.how[name] for name in ("batch_norm", "dropout")}
    gradient = landscape.gradient_direction(
        model, measurement.objective, parameters=arguments.parameters, norm=norm, bias=bias, **modes
    )
    if not parts:
        return gradient
    order = [number if kind == "gradient" else kinds[:i].count("random") for i, kind in enumerate(kinds)]
    made = landscape.stack_directions(*parts, gradient)
    tensors = {name: tensor[order] for name, tensor in made.tensors.items()}
    made = dataclasses.replace(made, tensors=tensors, details={**made.details, "order": kinds, "seed": seed})
    return landscape.orthogonalise(made) if arguments.orthogonal else made


def _section(arguments: argparse.Namespace, plan: Plan, measurement: Measurement) -> tuple[Directions, Points, Anchors]:
    from .. import landscape

    model = measurement.model
    paths = [arguments.toward] if arguments.toward else arguments.through
    others = []
    for path in paths:
        others.append(build_model(arguments.model))
        load_into(others[-1], path, arguments)
    names = (measurement.report.path, *paths)
    try:
        make: Any = landscape.line_between if arguments.toward else landscape.plane_through
        section: Section = make(model, model, *others, parameters=arguments.parameters)
    except ValueError as error:
        legend = ", ".join(f"{letter} is {name}" for letter, name in zip("abc", names, strict=False))
        raise ValueError(f"{error} ({legend})") from error
    n = plan.points_a_side(len(section.directions))
    if plan.span is not None:
        points = landscape.line(n, plan.span) if arguments.toward else landscape.grid(n, plan.span)
    else:
        points = line_with_ends(n) if arguments.toward else section.points(n)
    details = {**section.directions.details, "anchor_checkpoints": list(names)}
    directions = dataclasses.replace(section.directions, details=details)
    return directions, points, Anchors(names, (model, *others), section.coordinates)


def line_with_ends(n: int) -> Points:
    """Make a line that holds 0 and 1 exactly, with about a quarter of their distance beyond each.

    Args:
        n: Number of points, at least 3.

    Returns:
        The points.

    Example:
        >>> line_with_ends(7).coordinates.ravel().tolist()
        [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    """
    import numpy as np

    from ..landscape import Points

    between = max(1, round((n - 1) / 1.5))
    before = (n - 1 - between) // 2
    return Points(((np.arange(n) - before) / between)[:, None], (n,), "line")


def measure(
    arguments: argparse.Namespace, measurement: Measurement, directions: Directions, points: Points
) -> LossSurface:
    """Evaluate the loss at the points, or refine the grid that they form.

    Args:
        arguments: Of the command.
        measurement: What is measured.
        directions: Along which.
        points: Where.

    Returns:
        The surface.
    """
    from .. import landscape

    model, objective, how = measurement.model, measurement.objective, measurement.how
    if not arguments.adaptive:
        return landscape.evaluate(model, objective, directions, points, **how)
    assert points.shape is not None
    n = points.shape[0]
    ends = [(float(axis.min()), float(axis.max())) for axis in points.coordinates.T]
    return landscape.evaluate_adaptive(
        model,
        objective,
        directions,
        coarse=coarse(n),
        fine=n,
        span=ends,
        tolerance=arguments.tolerance or TOLERANCE,
        log=arguments.log,
        **how,
    )


def with_anchors(surface: LossSurface, anchors: Anchors, measurement: Measurement) -> LossSurface:
    """Add the losses of the checkpoints themselves, with their own buffers, to where the surface comes from.

    Args:
        surface: Of a line or plane.
        anchors: The checkpoints it goes through.
        measurement: What is measured.

    Returns:
        The surface with "anchor_losses" in its provenance, beside "anchors" and "anchor_checkpoints".
    """
    from .. import landscape

    modes = {**measurement.modes, "progress": False}
    true = landscape.true_losses(measurement.model, measurement.objective, anchors.models, **modes)
    return dataclasses.replace(surface, provenance={**surface.provenance, "anchor_losses": true.losses.tolist()})
