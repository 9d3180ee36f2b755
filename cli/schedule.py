"""``lrscape schedule``: schedules beside each other, with what theory promises of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .columns import columns, number
from .failures import UsageError
from .headless import draw_without_window
from .options import as_number, positive, positive_whole
from .output import Output, add_output_options
from .schedule_kinds import maker, named
from .targets import check_figure

if TYPE_CHECKING:  # slow to import, and --help does without
    import numpy as np
    from numpy.typing import NDArray

HEAD = ("schedule", "first", "highest", "last", "sum", "sum of squares", "bound")

EPILOG = """\
examples:
  lrscape schedule cosine wsd wsd:sqrt --steps 1000 --lr 0.1 --warmup 50
  lrscape schedule --steps 100 --lr 0.1 -o schedules.png
  lrscape schedule stages:linear --stages 4 --restart 0.5 --delta 2 --smoothness 50 --sigma2 0.3 --json

schedules:
  constant  the rate itself, after the warmup
  warmup    the same
  cosine    half a cosine down to the floor
  wsd       hold, then decay in the last steps      (wsd:SHAPE, linear by default)
  wsd-s     the same several times, resuming each   (wsd-s:SHAPE, inverse by default)
  stages    decay, restart, decay …                 (stages:SHAPE, cosine by default)
SHAPE is linear, cosine, sqrt or inverse.

columns:
  sum    of all rates; with Ση large the run gets far
  bound  (Δ + Lσ²/2·Ση²)/Ση, which the least expected squared gradient of SGD stays below. No schedule has a smaller one
         than the best constant rate, √(2Δ/(Lσ²T)); the bound says nothing about the last iterate, for which rates decay
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "schedule",
        help="plot learning-rate schedules and compare their bounds",
        description="Plot learning-rate schedules and compare what theory promises of SGD under them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "schedules", metavar="SCHEDULE", nargs="*", type=named, help="what to compare (default: one of each kind)"
    )
    shape = parser.add_argument_group("shape")
    shape.add_argument("--steps", type=positive_whole, default=1000, help="optimizer steps in all (default: 1000)")
    shape.add_argument("--lr", type=positive, default=0.1, help="peak rate (default: 0.1)")
    shape.add_argument("--warmup", type=whole, default=0, metavar="N", help="steps of linear warmup (default: 0)")
    shape.add_argument("--decay", type=positive_whole, metavar="N", help="steps of each decay of wsd and wsd-s")
    shape.add_argument("--stages", type=positive_whole, default=4, metavar="N", help="of stages and wsd-s (default: 4)")
    shape.add_argument(
        "--restart", type=positive, default=1.0, metavar="R", help="peak of each stage over the one before (default: 1)"
    )
    shape.add_argument("--floor", type=fraction, metavar="M", help="where decays end, as a fraction of the peak")
    theory = parser.add_argument_group("theory")
    theory.add_argument("--delta", type=positive, default=100.0, help="Δ, loss above its minimum (default: 100)")
    theory.add_argument("--smoothness", type=positive, default=2.0, help="L, largest curvature (default: 2)")
    theory.add_argument("--sigma2", type=positive, default=1.0, help="σ², bound of |gradient|² (default: 1)")
    parser.add_argument("-o", "--out", type=Path, metavar="FIGURE", help=".png, .pdf or .svg; none by default")
    parser.add_argument("--dpi", type=positive, default=300.0, help="pixels per inch (default: 300)")
    parser.add_argument("--overwrite", action="store_true", help="replace FIGURE if it exists")
    add_output_options(parser)


def whole(text: str) -> int:
    """Read a count that may be 0.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def fraction(text: str) -> float:
    """Read a number from 0 to 1.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.
    """
    value = as_number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Print a table, and draw where asked.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        UsageError: If the options contradict each other.
    """
    check_figure(arguments.out, "--out", overwrite=arguments.overwrite)
    from ..schedulers import min_warmup_steps, optimal_constant_lr, planned_rates, sgd_bound

    names = list(dict.fromkeys(arguments.schedules or ("constant", "cosine", "wsd", "wsd-s", "stages")))
    theory = (arguments.delta, arguments.smoothness, arguments.sigma2)
    with Output(arguments) as output:
        try:
            plans = {name: planned_rates(maker(name, arguments), arguments.lr, arguments.steps) for name in names}
        except ValueError as error:
            raise UsageError(f"these options leave no such schedule: {error}") from error
        found = {name: described(rates, sgd_bound(rates, *theory)) for name, rates in plans.items()}
        best = optimal_constant_lr(arguments.steps, *theory)
        least = sgd_bound([best] * arguments.steps, *theory)
        needed = min_warmup_steps(arguments.lr, arguments.smoothness)
        if arguments.out is not None:
            draw(plans, theory, least, arguments)
        record = {
            "steps": arguments.steps,
            "lr": arguments.lr,
            "delta": arguments.delta,
            "smoothness": arguments.smoothness,
            "sigma2": arguments.sigma2,
            "schedules": [{"schedule": name, **numbers} for name, numbers in found.items()],
            "best_constant": {"lr": best, "bound": least},
            "min_warmup": needed,
            "figure": None if arguments.out is None else str(arguments.out),
        }
        lines = columns(HEAD, [(name, *map(number, numbers.values())) for name, numbers in found.items()])
        lines.append(("best constant", f"rate {number(best)}, bound {number(least)}"))
        lines.append(("least warmup", f"{needed} step{'s' * (needed > 1)}, for a stable first one at this curvature"))
        if arguments.out is not None:
            lines.append(("figure", str(arguments.out)))
        output.result(record, lines)
    return 0


def described(rates: NDArray[np.float64], bound: float) -> dict[str, float]:
    """Summarise a schedule.

    Args:
        rates: Of each step.
        bound: From theory.

    Returns:
        Numbers by name, in the order of the table.
    """
    return {
        "first": float(rates[0]),
        "highest": float(rates.max()),
        "last": float(rates[-1]),
        "sum": float(rates.sum()),
        "sum_of_squares": float((rates**2).sum()),
        "bound": bound,
    }


def draw(
    plans: dict[str, NDArray[np.float64]],
    theory: tuple[float, float, float],
    least: float,
    arguments: argparse.Namespace,
) -> None:
    """Draw rates, and below them the bound of a run that would stop at each step, over a line for the best constant.

    Args:
        plans: Rates by name.
        theory: Δ, L and σ².
        least: Bound of the best constant rate.
        arguments: Of the command.
    """
    draw_without_window()
    from matplotlib import pyplot as plt

    from .. import viz
    from ..schedulers import sgd_bound_so_far

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(4.6, 4.8), layout="constrained")
    try:
        taken = range(1, arguments.steps + 1)
        viz.curves({name: (taken, rates) for name, rates in plans.items()}, above, ylabel="learning rate", xlabel="")
        above.get_legend().remove()  # the same names stand below
        bounds = {name: (taken, sgd_bound_so_far(rates, *theory)) for name, rates in plans.items()}
        viz.curves(bounds, below, ylabel="bound on |gradient|²", guides={"best constant rate": least})
        below.set_ylim(0, 2.5 * max(float(values[-1]) for _, values in bounds.values()))
        viz.save(figure, arguments.out, dpi=arguments.dpi)
    finally:
        plt.close(figure)
