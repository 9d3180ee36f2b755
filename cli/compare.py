"""``lrscape compare``: several surfaces in one table and one figure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .columns import columns, number, place
from .describe import describe, differences, only
from .failures import UsageError, about
from .headless import draw_without_window
from .logarithm import check_log
from .options import positive
from .output import Output, add_output_options
from .plot import load_surface
from .targets import check_figure
from .tda_table import short_names

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface

HEAD = ("surface", "centre", "lowest", "at", "sharpness", "curvature", "roughness")

EPILOG = """\
examples:
  lrscape compare sgd.npz adam.npz
  lrscape compare epoch1.npz epoch5.npz epoch20.npz -o runs.png --log
  lrscape compare a.npz b.npz --metric top1 --json

columns:
  centre     loss of the model itself
  lowest     lowest loss on the grid, and where it stands
  sharpness  how much higher the neighbours of the centre lie on average, as a fraction of its loss; it grows with the
             square of their distance
  curvature  eigenvalues of the quadratic through the same points, loss per unit²
  roughness  what a quadratic through all points leaves: 0 for a perfect bowl, 1 where nothing is bowl

1-D surfaces are drawn over each other, 2-D ones side by side with the same colours. Numbers of topology: lrscape tda.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="compare surfaces in a table and a figure",
        description="Compare surfaces that lrscape probe or lrscape trajectory saved.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("surfaces", metavar="SURFACE", type=Path, nargs="+", help="at least two .npz files")
    parser.add_argument("--metric", help="compare this metric instead of the loss")
    parser.add_argument("-o", "--out", type=Path, metavar="FIGURE", help=".png, .pdf or .svg; none by default")
    parser.add_argument(
        "--kind",
        choices=("contour", "surface"),
        default="contour",
        help="of 2-D panels in the figure (default: contour)",
    )
    parser.add_argument("--log", action="store_true", help="logarithmic losses in the figure")
    parser.add_argument("--dpi", type=positive, default=300.0, help="pixels per inch (default: 300)")
    parser.add_argument("--overwrite", action="store_true", help="replace FIGURE if it exists")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table, and draw where asked.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        UsageError: If there are fewer than two surfaces.
        ValueError: If a surface lacks the metric.
    """
    paths = list(dict.fromkeys(arguments.surfaces))
    if len(paths) < 2:
        raise UsageError("comparing takes at least two different surfaces, got one; for one alone use lrscape plot")
    check_figure(arguments.out, "--out", overwrite=arguments.overwrite)
    with Output(arguments) as output:
        surfaces: dict[Path, LossSurface] = {}
        for path in paths:
            with about(path):
                surfaces[path] = only(load_surface(path), arguments.metric)
        names = short_names(paths)
        unlike = differences(list(surfaces.values()))
        if unlike:
            output.note(f"not measured alike: {'; '.join(unlike)}")
        described = {path: describe(surface) for path, surface in surfaces.items()}
        record = {
            "metric": arguments.metric or "loss",
            "differences": unlike,
            "surfaces": [{"surface": str(path), **numbers} for path, numbers in described.items()],
            "figure": None,
        }
        lines = columns(HEAD, [row(names[path], numbers) for path, numbers in described.items()])
        try:
            if arguments.out is not None:
                draw(surfaces, names, arguments)
                record["figure"] = str(arguments.out)
                lines.append(("figure", str(arguments.out)))
        finally:  # the numbers are there, whatever becomes of the figure
            output.result(record, lines)
    return 0


def row(name: str, numbers: dict[str, Any]) -> tuple[str, ...]:
    """Word one surface's numbers for a person.

    Args:
        name: Of the surface.
        numbers: From :func:`~lrscape.cli.describe.describe`.

    Returns:
        One text for each column.
    """
    eigenvalues = [] if numbers["eigenvalues"] is None else [number(float(e)) for e in numbers["eigenvalues"]]
    return (
        name,
        number(numbers["center"]),
        number(numbers["minimum"]),
        place(numbers["at"]),
        number(numbers["sharpness"], 3),
        ", ".join(filter(None, eigenvalues)),
        number(numbers["roughness"], 3),
    )


def draw(surfaces: dict[Path, LossSurface], names: dict[Path, str], arguments: argparse.Namespace) -> None:
    """Draw all surfaces into one file.

    Args:
        surfaces: By file.
        names: Likewise.
        arguments: Of the command.
    """
    for path, surface in surfaces.items():
        if arguments.log:
            check_log(surface, path, arguments.metric)
    draw_without_window()
    from matplotlib import pyplot as plt

    from .. import viz
    from ..viz.field import plain

    labels = [names[path] for path in surfaces]
    metric = None if arguments.metric is None else plain(arguments.metric)
    figure = viz.compare(list(surfaces.values()), labels=labels, kind=arguments.kind, log=arguments.log, label=metric)
    try:
        viz.save(figure, arguments.out, dpi=arguments.dpi)
    finally:
        plt.close(figure)
