"""The command line: ``lrscape COMMAND …``, also as ``python -m lrscape``.

One file per command, listed in COMMANDS. Such a file has ``add_parser(subparsers)``, which sets ``run`` as the parser's
default, and ``run(arguments)``, which returns the exit code. torch and matplotlib are imported when a command runs, so
that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from .. import __version__
from . import compare, curvature, demo, plot, probe, report, schedule, tda, trajectory
from .factories import importable_from_here
from .failures import UsageError, explain
from .output import accept_any_name
from .together import rank, told_elsewhere

COMMANDS: tuple[ModuleType, ...] = (demo, probe, trajectory, plot, compare, curvature, tda, schedule, report)

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

EPILOG = """\
examples:
  lrscape demo
  lrscape probe model.pt --model mycode:make_model --data mycode:make_batches --grid 51 --out surface.npz
  lrscape plot surface.npz --kind contour,surface -o figures/
  lrscape trajectory epoch*.pt --sort --model mycode:make_model --data mycode:make_batches --figure path.png
  lrscape compare before.npz after.npz -o both.png
  lrscape curvature model.pt --model mycode:make_model --data mycode:make_batches
  lrscape tda before.npz after.npz -o figures/
  lrscape schedule cosine wsd:sqrt --steps 1000 --lr 0.1 -o schedules.png
  lrscape report model.pt --model mycode:make_model --data mycode:make_batches -o report.html

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands.

    Returns:
        The parser; what it parses has the attribute ``run``.
    """
    parser = argparse.ArgumentParser(
        prog="lrscape",
        description="Measure the loss landscape around a PyTorch model, and look at it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lrscape {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    accept_any_name()
    try:
        arguments = build_parser().parse_args(argv)
        arguments.words = list(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse has printed help, the version or what is wrong
        return stop.code if isinstance(stop.code, int) else OK
    try:
        with importable_from_here():
            code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader, `head` say, has left; Python must not stumble over it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # whatever the user's own code raises, too
        if told_elsewhere(error):
            return FAILED
        if arguments.debug:
            traceback.print_exc()
        hint = "" if arguments.debug else "; add --debug for the traceback"
        return _fail(
            f"error: {explain(error, hint, vars(arguments))}", USAGE if isinstance(error, UsageError) else FAILED
        )


def _fail(message: str, code: int) -> int:
    place = f"rank {rank()}: " if rank() else ""
    sys.stderr.write(f"lrscape: {place}{message}\n")
    return code
