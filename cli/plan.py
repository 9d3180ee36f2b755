"""Where ``lrscape probe`` measures: what its options ask for together, checked before anything is loaded."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failures import UsageError
from .options import Span, at_least_3, list_of, positive

SIZES = {1: 101, 2: 51, 3: 21}  # points a side, by dimensions
ADAPTIVE, COARSE = 101, 26  # points a side, and of its coarsest grid at least where there are more
KINDS = ("random", "gradient")
NORM, BIAS, SEED, TOLERANCE = "filter", "zero", 0, 0.01

_SHAPES_DRAWN = ("norm", "bias", "orthogonal", "seed")
# What says nothing where the directions come from elsewhere.
_MEANINGLESS = {
    "toward": (_SHAPES_DRAWN, "the line runs from one checkpoint to the other"),
    "through": (_SHAPES_DRAWN, "the plane goes through the three checkpoints"),
    "load_directions": ((*_SHAPES_DRAWN, "parameters"), "the directions are taken as they were saved"),
}


@dataclass(frozen=True)
class Plan:
    """Where to measure.

    Attributes:
        dims: Number of directions; None where a file decides.
        size: Points a side; None for the default of the dimensions.
        span: Half the width, or (low, high); None for the default.
        adaptive: Whether to refine where the surface bends.
    """

    dims: int | None
    size: int | None
    span: float | tuple[float, float] | None
    adaptive: bool

    def points_a_side(self, dims: int) -> int:
        """Choose the size of the grid.

        Args:
            dims: Number of directions.

        Returns:
            Points along each of them.
        """
        return self.size or (ADAPTIVE if self.adaptive else SIZES[dims])


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the options that a plan is made of.

    Args:
        parser: The parser of the command.
    """
    where = parser.add_argument_group("where to measure")
    shape = where.add_mutually_exclusive_group()
    shape.add_argument(
        "--grid", type=at_least_3, metavar="N", help="N points a side, odd (default: 51; 101 for 1-D, 21 for 3-D)"
    )
    shape.add_argument("--line", type=at_least_3, metavar="N", help="N points along one direction")
    shape.add_argument("--cube", type=at_least_3, metavar="N", help="N×N×N points along three directions")
    where.add_argument("--dims", type=int, choices=(1, 2, 3), help="number of directions (default: 2)")
    where.add_argument(
        "--span",
        nargs="+",
        action=Span,
        metavar=("S", "HIGH"),
        help="from -S to S (default: 1), or from LOW to HIGH if two numbers are given, along every direction",
    )
    where.add_argument(
        "--adaptive", action="store_true", help="2-D: measure only where the surface bends, interpolate the rest"
    )
    where.add_argument(
        "--tolerance",
        type=positive,
        metavar="X",
        help=f"of --adaptive: error to aim at, as a fraction of the range of losses (default: {TOLERANCE})",
    )
    where.add_argument("--log", action="store_true", help="of --adaptive: aim at it in the logarithm of the loss")
    _add_directions(parser)


def _add_directions(parser: argparse.ArgumentParser) -> None:
    along = parser.add_argument_group("along which directions")
    source = along.add_mutually_exclusive_group()
    source.add_argument(
        "--directions",
        type=list_of(KINDS),
        metavar="KIND,...",
        help="random or gradient, in the order of the axes; the rest are random (default: random)",
    )
    source.add_argument(
        "--toward", metavar="CKPT", help="the line to another checkpoint, which lies at 1; it holds both"
    )
    source.add_argument("--through", nargs=2, metavar="CKPT", help="the plane through two other checkpoints")
    source.add_argument("--load-directions", type=Path, metavar="FILE", help="those that --save-directions wrote")
    along.add_argument("--save-directions", type=Path, metavar="FILE", help="write them to an .npz file")
    along.add_argument(
        "--parameters",
        nargs="+",
        metavar="PATTERN",
        help="move only these: names of parameters or modules, or patterns such as 'layers.*.weight'",
    )
    along.add_argument(
        "--norm",
        choices=("filter", "layer", "none", "unit"),
        help="make each filter, or each layer, of a direction as long as the model's, or the whole of length 1 "
        f"(default: {NORM})",
    )
    along.add_argument(
        "--bias",
        choices=("zero", "match"),
        help="leave biases and norms alone (default), or move them; a gradient with --norm none or unit moves them",
    )
    along.add_argument("--orthogonal", action="store_true", help="make the directions orthogonal")
    along.add_argument("--seed", type=int, help=f"of the random directions (default: {SEED})")


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Read the options together.

    Args:
        arguments: Of the command.

    Returns:
        The plan.

    Raises:
        UsageError: If they contradict each other, or one says nothing beside another.
    """
    _check_source(arguments)
    dims, size = _dims_and_size(arguments)
    plan = Plan(dims, size, arguments.span, arguments.adaptive)
    _check_adaptive(plan, arguments)
    symmetric = arguments.span is None or isinstance(arguments.span, float)
    placed = arguments.toward or arguments.through
    if size is not None and size % 2 == 0 and symmetric and (arguments.span is not None or not placed):
        option = next(name for name in ("grid", "line", "cube") if getattr(arguments, name) is not None)
        raise UsageError(f"--{option} must be odd, so that the centre lies on the grid, got {size}; use {size + 1}")
    kinds = arguments.directions or []
    if dims is not None and len(kinds) > dims:
        raise UsageError(f"--directions names {len(kinds)}, but there are {dims}; use --dims {min(len(kinds), 3)}")
    if kinds.count("gradient") > 1:
        raise UsageError("--directions names the gradient twice, but there is one; use gradient,random")
    return plan


def _check_source(arguments: argparse.Namespace) -> None:
    for source, (names, reason) in _MEANINGLESS.items():
        if not getattr(arguments, source):
            continue
        given = [
            name for name in names if getattr(arguments, name) is not None and getattr(arguments, name) is not False
        ]
        if given:
            raise UsageError(f"--{given[0]} says nothing with {_option(source)}: {reason}; leave one of them out")
    if arguments.load_directions and arguments.save_directions:
        raise UsageError("--save-directions would write what --load-directions reads; leave one of them out")
    if arguments.save_directions and arguments.save_directions == arguments.out:
        raise UsageError(f"--save-directions and --out name the same file, {arguments.out}; choose two")


def _dims_and_size(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    """Find what the shape asks for, and what the source of the directions dictates."""
    wanted: dict[str, int] = {f"--{name}": dims for name, dims in (("line", 1), ("cube", 3)) if _given(arguments, name)}
    if arguments.dims is not None:
        wanted[f"--dims {arguments.dims}"] = arguments.dims
    elif arguments.grid is not None:
        wanted["--grid"] = 2
    wanted |= {f"--{name}": dims for name, dims in (("toward", 1), ("through", 2)) if _given(arguments, name)}
    if len(set(wanted.values())) > 1:
        (first, few), *others = wanted.items()
        second, many = next((name, dims) for name, dims in others if dims != few)
        advice = "use --line N for --grid N" if second == "--toward" else "leave one of them out"
        raise UsageError(f"{first} is {few}-D, but {second} is {many}-D; {advice}")
    size = next((n for n in (arguments.grid, arguments.line, arguments.cube) if n is not None), None)
    default = None if arguments.load_directions else 2
    return next(iter(wanted.values()), default), size


def _check_adaptive(plan: Plan, arguments: argparse.Namespace) -> None:
    if not plan.adaptive:
        for name in ("tolerance", "log"):
            if getattr(arguments, name):
                raise UsageError(f"--{name} says how --adaptive refines, which is not given; add it")
        return
    if plan.dims not in {2, None}:
        raise UsageError(f"--adaptive refines a 2-D grid, but {plan.dims}-D is asked for; leave it out")
    if plan.size is not None:
        coarse(plan.size)


def coarse(size: int) -> int:
    """Choose the coarsest grid of an adaptive one: halved once, and further while 26 points a side are left.

    Args:
        size: Points a side of the finest.

    Returns:
        Points a side of the coarsest.

    Raises:
        UsageError: If the size cannot be halved.

    Example:
        >>> coarse(101), coarse(51), coarse(401)
        (26, 26, 26)
    """
    cells, halvings = size - 1, 0
    while cells % 2 == 0 and cells >= 8 and (halvings < 1 or cells // 2 >= COARSE - 1):
        cells, halvings = cells // 2, halvings + 1
    if halvings == 0:
        raise UsageError(f"--adaptive needs an odd --grid of at least 9 points a side, got {size}; use {ADAPTIVE}")
    return cells + 1


def _given(arguments: Any, name: str) -> bool:
    return getattr(arguments, name) is not None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
