"""``lrscape trajectory``: the landscape in the plane in which a run moved most, with the run's path."""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .destination import check_destination, save_somewhere
from .failures import UsageError, about
from .logarithm import check_log
from .measurement import Checkpoints, Measurement, add_files, add_how, add_what, prepare, warn_of_statistics
from .options import at_least_3, not_negative
from .output import Output, add_output_options
from .resumption import check_resumption, drop_partial, resumable
from .targets import check_figure
from .together import together
from .trajectory_table import as_lines, as_record

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    from ..landscape import LossSurface, Trajectory

EPILOG = """\
examples:
  lrscape trajectory epoch*.pt --sort --model mycode:make_model --data mycode:make_batches --figure path.png
  lrscape trajectory epoch0.pt epoch5.pt final.pt --model mycode:Net --data mycode:batches --grid 41 --out run.npz
  lrscape plot run.npz --kind contour --log          the path is drawn here too

columns:
  at            where the checkpoint is projected to: distances in parameter space from the last one, or the mean
  true loss     the loss of the checkpoint itself, with all its weights and its own running statistics of BatchNorm
  in the plane  the loss at the projection, which is what the contour shows there
  off plane     distance of the checkpoint from the plane

The plane is spanned by the first two principal directions of the checkpoints (Li et al. 2018, section 7), which are
orthonormal; they are not normalised filter by filter, or the path would not lie in their plane.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "trajectory",
        help="measure the loss around the path of a run",
        description="Find the plane in which the checkpoints of a run spread most, measure the loss on a grid that "
        "holds the path, and compare it with the true losses of the checkpoints.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "checkpoints", metavar="CKPT", nargs="+", help="at least three checkpoints, in the order of training"
    )
    parser.add_argument("--sort", action="store_true", help="by the numbers in their names: epoch2 before epoch10")
    add_what(parser)
    where = parser.add_argument_group("where to measure")
    where.add_argument("--grid", type=at_least_3, default=25, metavar="N", help="N×N points (default: 25)")
    where.add_argument(
        "--margin", type=not_negative, default=0.25, help="room around the path, as a fraction of it (default: 0.25)"
    )
    where.add_argument(
        "--center", choices=("final", "mean"), default="final", help="origin: the last checkpoint, or the mean of all"
    )
    where.add_argument(
        "--parameters",
        nargs="+",
        metavar="PATTERN",
        help="the path of these alone: names of parameters or modules, or patterns; the others stay as in the last",
    )
    add_how(parser)
    files = add_files(parser)
    files.add_argument("--figure", type=Path, metavar="FILE", help="draw contour and path: .png, .pdf or .svg")
    files.add_argument("--log", action="store_true", help="logarithmic losses in the figure")
    add_output_options(parser)


def in_order(paths: Sequence[str]) -> list[str]:
    """Sort by names in which numbers count as numbers.

    Args:
        paths: Of checkpoints.

    Returns:
        The same, sorted.

    Example:
        >>> in_order(["epoch10.pt", "epoch2.pt"])
        ['epoch2.pt', 'epoch10.pt']
    """
    return sorted(paths, key=lambda path: [(part.isdigit(), int(part) if part.isdigit() else 0, part)
                                           for part in re.split(r"(\d+)", path)])  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Find the plane, measure, save, draw, and print a table.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        UsageError: If there are too few checkpoints.
    """
    given: list[str] = arguments.checkpoints
    if len(set(given)) < 3:
        raise UsageError(
            f"a plane needs at least three different checkpoints, got {len(set(given))}; for the line between two use "
            "lrscape probe A --toward B"
        )
    out: Path = arguments.out
    check_figure(arguments.figure, "--figure", overwrite=resumable(arguments))
    paths = in_order(given) if arguments.sort else given
    with together(arguments.device) as first, Output(arguments, silent=not first) as output:
        if first:
            check_destination(out, overwrite=resumable(arguments))
            check_resumption(arguments, output)
        if paths == sorted(paths) and paths != in_order(paths):
            output.note("the order is alphabetical, so that 10 comes before 2; pass --sort if that is not the run's")
        from .. import landscape

        measurement = prepare(arguments, paths[-1], output)
        warn_of_statistics(measurement, output)
        checkpoints = Checkpoints(paths, arguments)
        found = landscape.trajectory(
            measurement.model, checkpoints, center=arguments.center, parameters=arguments.parameters
        )
        start = time.perf_counter()
        surface = _measured(arguments, measurement, found, checkpoints, paths)
        origin = {"seconds": time.perf_counter() - start, "model_factory": arguments.model, "data": arguments.data}
        surface = dataclasses.replace(surface, provenance={**surface.provenance, **origin})
        if not first:
            return 0
        save_somewhere(surface.save, out)
        drop_partial(out)
        record = as_record(surface, found, out, None)
        try:
            if arguments.figure is not None:
                _draw(surface, arguments)
                record["figure"] = str(arguments.figure)
        finally:  # the numbers are there, whatever becomes of the figure
            output.result(record, as_lines(record))
    return 0


def _draw(surface: LossSurface, arguments: argparse.Namespace) -> None:
    from .plot import draw

    if arguments.log:
        check_log(surface, arguments.out)
    with about(arguments.out):
        draw(surface, "contour", arguments.figure, log=arguments.log, metric=None, dpi=300.0)


def _measured(
    arguments: argparse.Namespace,
    measurement: Measurement,
    found: Trajectory,
    checkpoints: Checkpoints,
    paths: Sequence[str],
) -> LossSurface:
    """Evaluate the grid, the projections and the checkpoints themselves."""
    from .. import landscape

    points = found.points(arguments.grid, arguments.margin)
    objective, how = measurement.objective, measurement.how
    surface = landscape.evaluate(found.model, objective, found.directions, points, **how)
    quiet = {**how, "progress": False, "partial": None}
    under = landscape.evaluate(found.model, objective, found.directions, landscape.points(found.path), **quiet)
    modes = {**measurement.modes, "progress": False}
    true = landscape.true_losses(measurement.model, objective, checkpoints, **modes)
    story = {
        "checkpoint": paths[-1],
        "loss": measurement.loss_name,
        "path": found.path.tolist(),
        "path_checkpoints": list(paths),
        "path_losses": true.losses.tolist(),
        "path_plane_losses": under.losses.tolist(),
        "path_distances": found.distance.tolist(),
        "path_metrics": {name: values.tolist() for name, values in true.metrics.items()},
    }
    return dataclasses.replace(surface, provenance={**surface.provenance, **story})
