"""``lrscape curvature``: trace, outermost eigenvalues, spectrum and sharpest layers of a checkpoint."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .curvature_table import as_lines, as_record
from .destination import check_destination, save_somewhere
from .failures import UsageError
from .headless import draw_without_window
from .measurement import add_loading, add_what, prepare
from .options import positive, positive_whole
from .output import Output, add_output_options
from .plot import FORMATS, make_folder
from .targets import check_target
from .together import rank

if TYPE_CHECKING:  # slow to import, and --help does without
    from .curvature_estimates import Estimates

KINDS = (".npz", ".json")

EPILOG = """\
examples:
  lrscape curvature model.pt --model mycode:make_model --data mycode:make_batches
  lrscape curvature model.pt --model mycode:Net --data mycode:batches --top 10 --smallest 3 --trace-error 0.005
  lrscape curvature model.pt --model mycode:Net --data mycode:batches --parameters head 'layers.*.weight' --no-layers
  lrscape curvature model.pt --model mycode:Net --data mycode:batches --out run/curvature.npz --figures run --json
  lrscape curvature model.pt --model mycode:Net --data mycode:batches --save-directions sharp.npz
  lrscape probe model.pt --model mycode:Net --data mycode:batches --load-directions sharp.npz

what is printed:
  trace           of the Hessian of the mean loss, ± its standard error, and a 95 % interval
  largest         eigenvalues; ± is the residual, within which an eigenvalue lies for certain
  smallest        likewise, at the other end
  along gradient  curvature along the gradient, and the rate of the steepest-descent step that lowers the loss most
  stable rate     gradient descent on the quadratic model diverges above it: 2 over the largest eigenvalue
  density         how the eigenvalues are distributed, by stochastic Lanczos quadrature
  layers          the largest eigenvalue of each layer's own block of the Hessian
  products        Hessian-vector products in all; one costs about two gradients on a single batch, three on several

The Hessian is that of the loss as lrscape probe measures it: over all of the data, one batch in memory at a time. With
many layers or much data --no-layers and --no-density save the most. OUT is an .npz file of arrays with the result as
JSON under "header", or, by its suffix, a .json file.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "curvature",
        help="measure the Hessian of a checkpoint",
        description="Measure the Hessian of the loss at a checkpoint: trace, outermost eigenvalues, density of the "
        "spectrum and sharpness of each layer, all with their uncertainties, and draw spectrum and layers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("checkpoint", metavar="CKPT", help="the checkpoint, a file or a folder")
    add_what(parser)
    _add_estimates(parser)
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--mode",
        choices=("auto", "reverse", "forward", "difference"),
        default="auto",
        help="how products are computed: reverse keeps a graph, forward keeps none, difference takes two gradients "
        "(default: auto, reverse where the model has second derivatives)",
    )
    how.add_argument(
        "--batch-norm",
        choices=("eval", "batch", "recalibrate"),
        default="eval",
        help="statistics of BatchNorm: running (default), of each batch, or re-estimated",
    )
    how.add_argument("--dropout", action="store_true", help="keep dropout on, with the same masks in every product")
    how.add_argument(
        "--chunk", type=positive_whole, metavar="N", help="vectors per pass (default: by model and device)"
    )
    how.add_argument("--seed", type=int, default=0, help="of the random vectors (default: 0)")
    how.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto is cuda where there is one (default)"
    )
    files = add_loading(parser)
    files.add_argument(
        "-o", "--out", type=Path, default=Path("curvature.npz"), help="the result (default: curvature.npz)"
    )
    files.add_argument("--overwrite", action="store_true", help="replace OUT, directions and figures that exist")
    files.add_argument(
        "--save-directions", type=Path, metavar="FILE", help="write the two sharpest directions, for lrscape probe"
    )
    files.add_argument(
        "--figures", type=Path, default=Path("figures"), metavar="DIR", help="folder of figures (default: figures)"
    )
    files.add_argument("--no-figures", action="store_true", help="draw nothing")
    files.add_argument("--format", choices=FORMATS, default="png", help="of the figures (default: png)")
    files.add_argument("--dpi", type=positive, default=300.0, help="pixels per inch (default: 300)")
    add_output_options(parser)


def _add_estimates(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is estimated, and how well."""
    estimates = parser.add_argument_group("what to estimate")
    estimates.add_argument(
        "--parameters",
        nargs="+",
        metavar="PATTERN",
        help="the Hessian of these alone: names of parameters or modules, or patterns",
    )
    estimates.add_argument(
        "--top", type=positive_whole, default=5, metavar="K", help="largest eigenvalues (default: 5)"
    )
    estimates.add_argument(
        "--smallest", type=positive_whole, default=1, metavar="K", help="smallest eigenvalues (default: 1)"
    )
    estimates.add_argument(
        "--tolerance",
        type=positive,
        default=1e-3,
        help="residual of an eigenvalue, relative to the largest, that is good enough (default: 0.001)",
    )
    estimates.add_argument(
        "--trace-error", type=positive, default=0.02, help="relative standard error that is enough (default: 0.02)"
    )
    estimates.add_argument(
        "--products", type=positive_whole, default=100, metavar="N", help="at most, for the trace (default: 100)"
    )
    estimates.add_argument(
        "--vectors", type=positive_whole, default=3, help="random vectors of the density (default: 3)"
    )
    estimates.add_argument("--steps", type=positive_whole, default=40, help="products for each (default: 40)")
    estimates.add_argument("--no-density", action="store_true", help="leave the density out")
    estimates.add_argument("--no-layers", action="store_true", help="leave the layers out")


def run(arguments: argparse.Namespace) -> int:
    """Measure, save, draw, and print.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        UsageError: If arguments do not fit together.
    """
    out: Path = arguments.out
    if out.suffix.lower() not in KINDS:
        raise UsageError(f"--out must end in {' or '.join(KINDS)}, got {str(out)!r}")
    if arguments.save_directions == out:
        raise UsageError("--save-directions and --out name the same file; choose another for one of them")
    if arguments.products < 4:
        raise UsageError(f"--products must be at least 4, or there is no standard error, got {arguments.products}")
    if rank():  # one process does it all
        return 0
    with Output(arguments) as output:
        check_destination(out, overwrite=arguments.overwrite)
        check_target(arguments.save_directions, "--save-directions", overwrite=arguments.overwrite)
        figures = {} if arguments.no_figures else plan(arguments)
        from .curvature_estimates import estimate, save

        measurement = prepare(arguments, arguments.checkpoint, output)
        start = time.perf_counter()
        found = estimate(measurement, arguments, output)
        seconds = time.perf_counter() - start
        record = as_record(found, measurement, arguments, seconds)
        save_somewhere(lambda path: save(path, found, record), out)
        if arguments.save_directions is not None:
            found.directions.save(arguments.save_directions)
        record["figures"] = [str(path) for path in draw_all(found, figures, arguments.dpi)]
        output.result(record, as_lines(record))
    return 0


def plan(arguments: argparse.Namespace) -> dict[str, Path]:
    """Name the files of the figures, and make sure that they can be written before anything is measured.

    Args:
        arguments: Of this command, which name a folder; it is made if needed.

    Returns:
        Kinds of figures and their files.
    """
    make_folder(arguments.figures)
    kinds = {"spectrum": not arguments.no_density, "layers": not arguments.no_layers}
    stem: str = arguments.out.stem
    files = {kind: arguments.figures / f"{stem}-{kind}.{arguments.format}" for kind, asked in kinds.items() if asked}
    for target in files.values():
        check_target(target, "--figures", overwrite=arguments.overwrite)
    return files


def draw_all(found: Estimates, figures: Mapping[str, Path], dpi: float) -> list[Path]:
    """Draw the spectrum and the layers, as far as they were measured.

    Args:
        found: The estimates.
        figures: Kinds of figures and their files.
        dpi: Pixels per inch.

    Returns:
        The files.
    """
    draw_without_window()
    from matplotlib import pyplot as plt

    from .. import viz

    drawn: dict[str, Any] = {}
    if found.density is not None:
        drawn["spectrum"] = lambda: viz.spectrum(found.density, eigenvalues=found.largest)
    if found.layers:
        whole = float(found.largest.eigenvalues[0])
        drawn["layers"] = lambda: viz.layer_sharpness(found.layers, whole=whole)
    wanted = [kind for kind in figures if kind in drawn]
    for kind in wanted:
        axes = drawn[kind]()
        try:
            viz.save(axes, figures[kind], dpi=dpi)
        finally:
            plt.close(axes.figure)
    return [figures[kind] for kind in wanted]
