"""``lrscape plot``: figures from a saved surface."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .destination import check_destination
from .failures import about
from .headless import draw_without_window
from .logarithm import check_log
from .marks import figure_of, mark_anchors
from .options import positive, some_of
from .output import Output, add_output_options

if TYPE_CHECKING:  # slow to import, and --help does without
    from ..landscape import LossSurface

FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        function: Its name in ``lrscape.viz``.
        dims: Dimensions of the surfaces it draws; None for any.
        asked: Whether it is drawn only where it is asked for.
        suffix: Of its files, if they are no pictures.
    """

    function: str
    dims: int | None
    asked: bool = False
    suffix: str | None = None

    def fits(self, surface: LossSurface) -> bool:
        """Tell whether it can draw a surface.

        Args:
            surface: What is to be drawn.

        Returns:
            Whether the dimensions fit.
        """
        return self.dims is None or self.dims == surface.dims


KINDS = {
    "contour": Kind("contour", 2),
    "surface": Kind("surface3d", 2),
    "line": Kind("line", 1),
    "basins": Kind("basins", 2, asked=True),
    "persistence": Kind("persistence_diagram", None, asked=True),
    "barcode": Kind("barcode", None, asked=True),
    "mergetree": Kind("merge_tree", None, asked=True),
    "interactive": Kind("to_html", 2, asked=True, suffix="html"),
    "paraview": Kind("to_vti", None, asked=True, suffix="vti"),
}

EPILOG = """\
examples:
  lrscape plot surface.npz                                   the landscape itself, into figures/
  lrscape plot surface.npz --kind contour,surface -o figures/
  lrscape plot surface.npz --kind contour --log --format pdf
  lrscape plot surface.npz --kind basins,persistence         its topology; numbers come from lrscape tda
  lrscape plot line.npz --kind line --metric top1
  lrscape plot surface.npz --kind interactive,paraview --log   an HTML page to turn around, a file for ParaView
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plot",
        help="draw a surface that probe saved",
        description="Draw a surface that lrscape probe saved. Each kind becomes a file SURFACE-KIND[-METRIC].FORMAT.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("surface", metavar="SURFACE", type=Path, help="the .npz file")
    parser.add_argument(
        "--kind",
        type=some_of(KINDS),
        metavar="KIND,...",
        help="what to draw, of "
        + ", ".join(f"{name} ({f'{kind.dims}-D' if kind.dims else 'any'})" for name, kind in KINDS.items())
        + "; default: "
        + ", ".join(name for name, kind in KINDS.items() if not kind.asked),
    )
    parser.add_argument("--log", action="store_true", help="logarithmic losses")
    parser.add_argument("--metric", help="draw this metric instead of the loss")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("figures"), help="folder, made if needed (default: figures)"
    )
    parser.add_argument("--format", choices=FORMATS, default="png", help="default: png")
    parser.add_argument("--dpi", type=positive, default=300.0, help="pixels per inch (default: 300)")
    parser.add_argument("--dark", action="store_true", help="light on dark")
    parser.add_argument("--overwrite", action="store_true", help="replace figures that exist")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw and save.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.
    """
    with Output(arguments) as output:
        surface = load_surface(arguments.surface)
        kinds = choose_kinds(surface, arguments.kind, str(arguments.surface))
        if arguments.log and set(kinds) != {"paraview"}:
            check_log(surface, arguments.surface, arguments.metric)
        make_folder(arguments.out)
        endings = {name: KINDS[name].suffix or arguments.format for name in kinds}
        files = [
            arguments.out / file_name(arguments.surface.stem, name, arguments.metric, ending)
            for name, ending in endings.items()
        ]
        for target in files:
            check_destination(target, overwrite=arguments.overwrite)
        from .. import viz

        with viz.theme("dark" if arguments.dark else "light"):
            for name, target in zip(kinds, files, strict=True):
                with about(arguments.surface):
                    draw(surface, name, target, log=arguments.log, metric=arguments.metric, dpi=arguments.dpi)
        record = {"surface": str(arguments.surface), "files": [str(file) for file in files]}
        output.result(record, [(name, str(file)) for name, file in zip(kinds, files, strict=True)])
    return 0


def load_surface(path: Path) -> LossSurface:
    """Load a surface that probe saved.

    Args:
        path: The file.

    Returns:
        The surface.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no surface.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no surface {path}; make one with lrscape probe")
    from ..landscape import LossSurface

    return LossSurface.load(path)


def file_name(stem: str, kind: str, metric: str | None, suffix: str) -> str:
    """Name a figure's file.

    Args:
        stem: Name of the surface.
        kind: A name in KINDS.
        metric: The metric that is drawn, None for the loss.
        suffix: The format.

    Returns:
        The name.

    Example:
        >>> file_name("surface", "contour", "top 1", "pdf")
        'surface-contour-top_1.pdf'
    """
    drawn = [] if metric is None else ["".join(c if c.isalnum() or c in "-_" else "_" for c in metric)]
    return "-".join([stem, kind, *drawn]) + f".{suffix}"


def choose_kinds(surface: LossSurface, asked: list[str] | None, called: str) -> list[str]:
    """Check the kinds that were asked for, or choose all that fit.

    Args:
        surface: What is to be drawn.
        asked: Names of kinds, None for all that fit and need not be asked for.
        called: What to call the surface.

    Returns:
        Names of kinds.

    Raises:
        ValueError: If a kind draws another number of dimensions, or none fits.
    """
    fitting = [name for name, kind in KINDS.items() if kind.fits(surface)]
    wrong = [name for name in asked or [] if name not in fitting]
    chosen = asked or [name for name in fitting if not KINDS[name].asked]
    if wrong or not chosen:
        needed = [f"--kind {name} draws {KINDS[name].dims}-D surfaces" for name in wrong[:1]]
        raise ValueError(f"{', '.join([*needed, f'{called} is {surface.dims}-D'])}; use --kind {','.join(fitting)}")
    return chosen


def draw(
    surface: LossSurface, kind: str, path: Path, *, log: bool, metric: str | None, dpi: float, **options: Any
) -> None:
    """Draw one figure into a file.

    Args:
        surface: What to draw.
        kind: A name in KINDS.
        path: The file; its suffix is the format.
        log: Logarithmic losses.
        metric: Draw this metric instead of the loss.
        dpi: Pixels per inch.
        **options: Further arguments of the kind's function.
    """
    draw_without_window()
    from matplotlib import pyplot as plt

    from .. import viz

    if kind == "paraview":
        viz.to_vti(surface, path)
        return
    if kind == "interactive":
        viz.to_html(surface, path, log=log, metric=metric, title=path.stem)
        return
    name, marks = figure_of(surface, kind, KINDS[kind].function)
    function: Callable[..., Any] = getattr(viz, name)
    axes = function(surface, log=log, metric=metric, **{**marks, **options})
    try:
        mark_anchors(axes, surface, kind, metric)
        viz.save(axes, path, dpi=dpi)
    finally:
        plt.close(axes.figure)


def make_folder(path: Path) -> None:
    """Make the folder that figures go to.

    Args:
        path: The folder; it may exist.

    Raises:
        OSError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {path} ({error.strerror}); choose another --out") from error
