"""``lrscape tda``: the topology of saved surfaces, compared in one table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failures import about
from .logarithm import check_log
from .options import as_number, not_negative, positive, positive_whole
from .output import Output, add_output_options
from .plot import FORMATS, KINDS, draw, file_name, load_surface, make_folder
from .targets import check_target
from .tda_table import as_record, as_row, short_names, table

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface
    from ..tda import Profile

FIGURES = ("persistence", "barcode", "mergetree", "basins")

EPILOG = """\
examples:
  lrscape tda surface.npz
  lrscape tda epoch1.npz epoch5.npz epoch20.npz -o figures/
  lrscape tda surface.npz --noise 0.01 --confidence 0.99 --json

columns:
  basins     those deeper than the noise, the deepest included
  depths     climb from a bottom to the pass where its basin ends; the deepest ends nowhere, so its is the whole range
  barriers   climb from the deepest bottom to the highest point of the lowest path to each other basin
  loops      peaks and ridges that low ground surrounds, higher than the noise
  roughness  sum of the depths of all basins but the deepest, within the noise or not, divided by the range of losses
  noise      depth below which a feature may be noise, at the noisiest point

Noise is the standard error of the losses. A surface measured on several batches has its own; --noise replaces it.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "tda",
        help="count basins, barriers and loops of surfaces",
        description="Count the basins and loops of surfaces that lrscape probe saved, above their noise, and measure "
        "depths, barriers and roughness; several surfaces are compared in one table.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("surfaces", metavar="SURFACE", type=Path, nargs="+", help=".npz files")
    what = parser.add_argument_group("what counts")
    what.add_argument(
        "--noise", type=not_negative, metavar="X", help="standard error of the losses; 0 takes every feature as real"
    )
    what.add_argument(
        "--confidence",
        type=probability,
        default=0.95,
        help="probability that nothing counted is due to the noise (default: 0.95)",
    )
    what.add_argument(
        "--cells",
        choices=("vertices", "top"),
        default="vertices",
        help="join points along the axes (default), or diagonally too, as TopoAdamW was published",
    )
    figures = parser.add_argument_group("figures")
    figures.add_argument("-o", "--out", type=Path, help=f"folder for figures: {', '.join(FIGURES)}; none by default")
    figures.add_argument("--log", action="store_true", help="logarithmic losses in the figures")
    figures.add_argument("--most", type=positive_whole, default=10, help="basins that a figure shows (default: 10)")
    figures.add_argument("--format", choices=FORMATS, default="png", help="default: png")
    figures.add_argument("--dpi", type=positive, default=300.0, help="pixels per inch (default: 300)")
    figures.add_argument("--overwrite", action="store_true", help="replace figures that exist")
    add_output_options(parser)


def probability(text: str) -> float:
    """Read a probability.

    Args:
        text: The argument.

    Returns:
        A number above 0 and below 1.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.

    Example:
        >>> probability("0.95")
        0.95
    """
    number = as_number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"must be a probability between 0 and 1, such as 0.95, got {text!r}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Analyse, print one table, and draw where asked.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        ValueError: If the points of a surface do not form a grid.
    """
    with Output(arguments) as output:
        surfaces = {path: load_surface(path) for path in dict.fromkeys(arguments.surfaces)}
        names = short_names(list(surfaces))
        figures = {} if arguments.out is None else plan(surfaces, names, arguments)
        records, rows = [], []
        for path, surface in surfaces.items():
            with about(path):
                profile, source = measure(surface, arguments)
            if source is None and arguments.noise is None:
                output.note(f"{path} has no standard errors, so every feature counts as real; --noise sets a level")
            records.append(as_record(path, surface, profile, source))
            rows.append(as_row(names[path], profile))
        drawn: list[str] = []
        try:
            for target, (path, kind) in figures.items():
                with about(path):
                    draw_one(surfaces[path], path, kind, target, arguments)
                drawn.append(str(target))
        finally:  # the numbers are there, whatever becomes of a figure
            record = {"confidence": arguments.confidence, "cells": arguments.cells, "surfaces": records, "files": drawn}
            output.result(record, [*table(rows), *[("figure", file) for file in drawn]])
    return 0


def measure(surface: LossSurface, arguments: argparse.Namespace) -> tuple[Profile, str | float | None]:
    """Profile one surface.

    Args:
        surface: On a grid.
        arguments: Of this command.

    Returns:
        The profile, and where its noise comes from: "standard_error", the number given, or None.

    Raises:
        ValueError: If its points do not form a grid.
    """
    from .. import tda

    if surface.shape is None:
        raise ValueError(
            f"its {len(surface)} points do not form a grid, so no neighbours are known; probe with --grid or --line"
        )
    own = surface.standard_error
    if arguments.noise is not None:
        noise, source = arguments.noise, arguments.noise or None
    else:
        noise, source = (None, None) if own is None else (own.reshape(surface.shape), "standard_error")
    return tda.profile(surface.values, noise, cells=arguments.cells, confidence=arguments.confidence), source


def plan(
    surfaces: Mapping[Path, LossSurface], names: Mapping[Path, str], arguments: argparse.Namespace
) -> dict[Path, tuple[Path, str]]:
    """Choose the figures that fit, and make sure that they can be written before anything is computed.

    Args:
        surfaces: By their files.
        names: For the figures' files.
        arguments: Of this command, which name a folder; it is made if needed.

    Returns:
        The file of each figure, with that of its surface, and its kind.
    """
    make_folder(arguments.out)
    figures = {
        arguments.out / file_name(names[path], kind, None, arguments.format): (path, kind)
        for path, surface in surfaces.items()
        for kind in FIGURES
        if KINDS[kind].fits(surface)
    }
    for target in figures:
        check_target(target, "--out", overwrite=arguments.overwrite)
    return figures


def draw_one(surface: LossSurface, path: Path, kind: str, target: Path, arguments: argparse.Namespace) -> None:
    """Draw one figure.

    Args:
        surface: The surface.
        path: Its file.
        kind: Of the figure.
        target: Its file.
        arguments: Of this command.
    """
    if arguments.log:
        check_log(surface, path)
    shared = {"noise": arguments.noise, "confidence": arguments.confidence, "cells": arguments.cells}
    number = {"most": arguments.most} if kind in {"mergetree", "basins"} else {}
    draw(surface, kind, target, log=arguments.log, metric=None, dpi=arguments.dpi, **shared, **number)
