"""``lrscape report``: everything about checkpoints on one page."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .destination import check_destination
from .failures import UsageError
from .headless import draw_without_window
from .histories import read_history
from .measurement import add_how, add_loading, add_what
from .nearby_history import Told
from .options import odd, positive
from .output import Output, add_output_options
from .together import rank

EPILOG = """\
examples:
  lrscape report model.pt --model mycode:make_model --data mycode:make_batches
  lrscape report epoch1.pt epoch5.pt epoch20.pt --model mycode:Net --data mycode:batches --metric top1=mycode:top1
  lrscape report model.pt --model mycode:Net --data mycode:batches --history run.jsonl --no-curvature -o run.html

The page shows for each checkpoint the surface around it, the Hessian, the topology, the history of its learning rate,
and where all of that comes from: options, versions, and the hash of the file. It is one HTML file without scripts that
asks for nothing from the network; whatever names it prints are escaped.

A history is taken from --history, a file of scheduler.history.to_jsonl() or of record(scheduler, FILE). Without it,
from the scheduler's state in the checkpoint, which a .jsonl file of the same run beside it completes; else from
the file beside it that has its name (model.jsonl for model.pt); else, for the last checkpoint given of a folder, from
the only .jsonl file there that holds decisions. The page says which it was. What could not be measured is named on the
page, with the reason.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        help="write one HTML page about checkpoints",
        description="Measure surface, curvature and topology of checkpoints, and write them to one HTML page with the "
        "history of the learning rate and the provenance of it all.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("checkpoints", metavar="CKPT", nargs="+", help="checkpoints of one model")
    add_what(parser)
    where = parser.add_argument_group("where to measure")
    where.add_argument("--grid", type=odd, default=25, metavar="N", help="N×N points, odd (default: 25)")
    where.add_argument("--span", type=positive, default=1.0, help="half the width of the grid (default: 1)")
    where.add_argument(
        "--norm", choices=("filter", "layer", "none"), default="filter", help="of the directions (default: filter)"
    )
    where.add_argument(
        "--bias",
        choices=("zero", "match"),
        default="zero",
        help="leave biases and norms alone (default), or move them along with the rest",
    )
    where.add_argument("--orthogonal", action="store_true", help="make the directions orthogonal")
    where.add_argument("--seed", type=int, default=0, help="of all random vectors (default: 0)")
    where.add_argument("--parameters", nargs="+", metavar="PATTERN", help="of these parameters or modules alone")
    where.add_argument("--no-curvature", action="store_true", help="leave the Hessian out")
    where.add_argument("--no-layers", action="store_true", help="leave out the Hessian of each layer, the slowest part")
    add_how(parser)
    files = add_loading(parser)
    files.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="learning rates of the last checkpoint, .jsonl (default: see below)",
    )
    files.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    files.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    files.add_argument("--title", default="Loss landscape report", help="of the page")
    files.add_argument("--linear", action="store_true", help="linear losses in the figures (default: logarithmic)")
    files.add_argument("--dark", action="store_true", help="light on dark")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and write the page.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.

    Raises:
        UsageError: If OUT is no HTML file.
    """
    out: Path = arguments.out
    if out.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"--out must end in .html, got {str(out)!r}")
    if rank():  # one process does it all
        return 0
    with Output(arguments) as output:
        check_destination(out, overwrite=arguments.overwrite)
        given = None
        if arguments.history is not None:
            given = Told(read_history(arguments.history), str(arguments.history))
        draw_without_window()
        from .. import viz
        from ..landscape.files import atomic_write
        from .report_body import body
        from .report_measure import measure_all
        from .report_page import page

        start = time.perf_counter()
        paths = list(dict.fromkeys(arguments.checkpoints))
        last = {Path(path).parent: path for path in paths}  # of each folder
        chapters = [
            measure_all(
                path,
                arguments,
                output,
                given if path == paths[-1] else None,
                shared=given is None and last[Path(path).parent] == path,
            )
            for path in paths
        ]
        seconds = time.perf_counter() - start
        story = [
            ("command", shlex.join(["lrscape", *arguments.words])),
            ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
            ("time", f"{seconds:.1f} s"),
        ]
        with viz.theme("dark" if arguments.dark else "light") as theme:
            text = page(arguments.title, body(arguments.title, chapters, story, log=not arguments.linear), theme)
        with atomic_write(out) as file:
            file.write(text.encode(errors="backslashreplace"))  # names of files may be no UTF-8
        record = {
            "out": str(out),
            "bytes": out.stat().st_size,
            "checkpoints": [
                {
                    "checkpoint": dataclasses.asdict(chapter.report),
                    "sha256": chapter.digest,
                    "center": chapter.surface.center,
                    "missing": dict(chapter.missing),
                    "decisions": 0 if chapter.history is None else len(chapter.history.decisions),
                    "history": None if chapter.history is None else chapter.history.source,
                }
                for chapter in chapters
            ],
            "seconds": seconds,
        }
        lines = [(chapter.name, f"loss {chapter.surface.center:.6g}") for chapter in chapters]
        lines += [("history", f"of {c.name}: {c.history.source}") for c in chapters if c.history is not None]
        lines += [("not shown", f"{what} of {c.name}: {why}") for c in chapters for what, why in c.missing.items()]
        lines += [("time", f"{seconds:.1f} s"), ("saved", f"{out} ({out.stat().st_size / 2**20:.1f} MiB)")]
        output.result(record, lines)
    return 0
