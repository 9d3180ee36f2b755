"""``lrscape probe``: the landscape around a checkpoint, as a file."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from .destination import check_destination, save_somewhere
from .directions import make_directions, measure, with_anchors
from .measurement import add_files, add_how, add_what, prepare, warn_of_statistics
from .output import Output, add_output_options
from .plan import add_where, make_plan
from .resumption import check_resumption, drop_partial, resumable
from .summary import as_lines, as_record
from .targets import check_target
from .together import together

EPILOG = """\
examples:
  lrscape probe model.pt --model mycode:make_model --data mycode:make_batches
  lrscape probe last.ckpt --model mycode:Net --data mycode:test_loader --loss mycode:loss --metric top1=mycode:accuracy
  lrscape probe model.safetensors --model mycode:Net --data mycode:batches --line 201 --span 2 --out line.npz
  lrscape probe a.pt --toward b.pt --model mycode:Net --data mycode:batches --batch-norm recalibrate --out line.npz
  lrscape probe a.pt --through b.pt c.pt --model mycode:Net --data mycode:batches --grid 41 --out plane.npz
  lrscape probe model.pt --model mycode:Net --data mycode:batches --directions gradient,random --span -0.5 1
  lrscape probe model.pt --model mycode:Net --data mycode:batches --adaptive --parameters head 'layers.*.weight'
  lrscape probe model.pt --model mycode:Net --data mycode:batches --grid 25 --json > result.json
  lrscape probe model.pt --model mycode:Net --data mycode:batches --grid 201 --resume
  torchrun --nproc-per-node 8 -m lrscape probe model.pt --model mycode:Net --data mycode:batches --grid 101

mycode.py, in the working directory:
  def make_model():                 # returns the nn.Module that the checkpoint belongs to
      return Net(width=32)

  def make_batches():               # returns batches that can be read more than once: a DataLoader, a list
      return DataLoader(dataset, batch_size=256)

  def loss(model, batch):           # returns the mean over the batch, or a pair (sum, count)
      x, y = batch
      return F.cross_entropy(model(x), y)

Units: with --norm filter or layer, 1 is the length of the model's own filters or layers; with unit it is a distance of
1 in parameter space, with none the length of the direction itself, which is reported. With --toward, 1 is the distance
between the checkpoints; with --through, the axes are distances. There --span is best left out: the points then hold
the checkpoints and a quarter of their extent around them.

While a scan runs, finished points are in OUT.partial. After a kill, the same command with --resume goes on from there,
and the result is bitwise that of a scan that was never cut off. Under torchrun the processes share the points, or the
batches where the model is sharded; the first one writes and talks.

CKPT may be a file of torch.save (the state dict itself, or one under "state_dict", "model", ...), a Lightning .ckpt, a
.safetensors file, a Transformers folder or one of torch.distributed.checkpoint. Nothing in it is executed, unless
--unsafe-load allows it. Prefixes such as "module." or "_orig_mod." are stripped where that makes the keys fit.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command's parser.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "probe",
        help="measure the loss around a checkpoint",
        description="Measure the loss on a grid around a checkpoint: along random directions, the gradient, or the "
        "lines to other checkpoints.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("checkpoint", metavar="CKPT", help="the checkpoint, a file or a folder")
    add_what(parser)
    add_where(parser)
    add_how(parser)
    add_files(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and save.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.
    """
    plan = make_plan(arguments)
    out: Path = arguments.out
    with together(arguments.device) as first, Output(arguments, silent=not first) as output:
        if first:
            check_destination(out, overwrite=resumable(arguments))
            check_target(arguments.save_directions, "--save-directions", overwrite=arguments.overwrite)
            check_resumption(arguments, output)
        measurement = prepare(arguments, arguments.checkpoint, output)
        directions, points, anchors = make_directions(arguments, plan, measurement)
        if anchors is not None:
            warn_of_statistics(measurement, output)
        if arguments.save_directions is not None and first:
            directions.save(arguments.save_directions)
        start = time.perf_counter()
        surface = measure(arguments, measurement, directions, points)
        seconds = time.perf_counter() - start
        if anchors is not None:
            surface = with_anchors(surface, anchors, measurement)
        origin = {
            "checkpoint": measurement.report.path,
            "model_factory": arguments.model,
            "data": arguments.data,
            "loss": measurement.loss_name,
        }
        surface = dataclasses.replace(surface, provenance={**surface.provenance, **origin, "seconds": seconds})
        if not first:
            return 0
        save_somewhere(surface.save, out)
        drop_partial(out)
        record = as_record(surface, measurement.report, out)
        if arguments.save_directions is not None:
            record["directions_saved"] = str(arguments.save_directions)
        output.result(record, as_lines(record))
    return 0
