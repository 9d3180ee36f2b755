"""``lrscape probe``: the landscape around a checkpoint, as a file."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .destination import check_destination, save_somewhere
from .factories import build_data, build_model, load_callable, load_metrics
from .options import odd, positive
from .output import Output, add_output_options
from .summary import as_lines, as_record

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    import torch

EPILOG = """\
examples:
  lrscape probe model.pt --model mycode:make_model --data mycode:make_batches
  lrscape probe last.ckpt --model mycode:Net --data mycode:test_loader --loss mycode:loss --metric top1=mycode:accuracy
  lrscape probe model.safetensors --model mycode:Net --data mycode:batches --line 201 --span 2 --out line.npz
  lrscape probe model.pt --model mycode:Net --data mycode:batches --grid 25 --json > result.json

mycode.py, in the working directory:
  def make_model():                 # returns the nn.Module that the checkpoint belongs to
      return Net(width=32)

  def make_batches():               # returns batches that can be read more than once: a DataLoader, a list
      return DataLoader(dataset, batch_size=256)

  def loss(model, batch):           # returns the mean over the batch, or a pair (sum, count)
      x, y = batch
      return F.cross_entropy(model(x), y)

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
        description="Measure the loss on a grid around a checkpoint, along random directions.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("checkpoint", metavar="CKPT", help="the checkpoint, a file or a folder")
    what = parser.add_argument_group("what to measure")
    what.add_argument("--model", required=True, metavar="MOD:NAME", help="function or class that makes the model")
    what.add_argument("--data", required=True, metavar="MOD:NAME", help="function that makes the batches")
    what.add_argument(
        "--loss",
        metavar="MOD:NAME",
        help="function of (model, batch); default: the output's .loss, else cross-entropy for integer and mean squared "
        "error for floating-point targets of batches (inputs, target)",
    )
    what.add_argument(
        "--metric", action="append", default=[], metavar="NAME=MOD:NAME", help="another function of (model, batch)"
    )
    where = parser.add_argument_group("where to measure")
    shape = where.add_mutually_exclusive_group()
    shape.add_argument("--grid", type=odd, default=51, metavar="N", help="N×N points, N odd (default: 51)")
    shape.add_argument("--line", type=odd, metavar="N", help="N points along one direction instead")
    where.add_argument("--span", type=positive, default=1.0, help="from -SPAN to SPAN (default: 1)")
    where.add_argument(
        "--norm",
        choices=("filter", "layer", "none"),
        default="filter",
        help="make each filter, or each layer, of a direction as long as the model's (default: filter)",
    )
    where.add_argument(
        "--bias", choices=("zero", "match"), default="zero", help="leave biases and norms alone (default), or move them"
    )
    where.add_argument("--orthogonal", action="store_true", help="make the two directions orthogonal")
    where.add_argument("--seed", type=int, default=0, help="of the directions (default: 0)")
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--batch-norm",
        choices=("eval", "batch", "recalibrate"),
        default="eval",
        help="statistics of BatchNorm: running (default), of each batch, or re-estimated at each point",
    )
    how.add_argument(
        "--engine",
        choices=("auto", "inplace", "batched"),
        default="auto",
        help="one point after the other, or many at once (default: auto)",
    )
    how.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto is cuda where there is one (default)"
    )
    load = parser.add_argument_group("checkpoint and result")
    load.add_argument("--key", help="where the weights are in CKPT, if there are several sets, e.g. ema_state_dict")
    load.add_argument("--prefix", help="take the keys that start with PREFIX, and strip it, if several would fit")
    load.add_argument(
        "--unsafe-load",
        action="store_true",
        help="unpickle any object in CKPT, which can run any code: only for files you trust",
    )
    load.add_argument("-o", "--out", type=Path, default=Path("surface.npz"), help="the result (default: surface.npz)")
    load.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and save.

    Args:
        arguments: Of this command.

    Returns:
        The exit code.
    """
    check_destination(arguments.out, overwrite=arguments.overwrite)
    with Output(arguments) as output:
        from .. import landscape
        from ..landscape.checkpoints import load_checkpoint

        metrics = load_metrics(arguments.metric)
        loss = None if arguments.loss is None else load_callable(arguments.loss, "--loss")
        device = choose_device(arguments.device)
        model = build_model(arguments.model)
        report = load_checkpoint(
            model, arguments.checkpoint, key=arguments.key, prefix=arguments.prefix, unsafe=arguments.unsafe_load
        )
        output.note(f"loaded {report.path}: {report}")
        model.to(device)
        data = build_data(arguments.data)
        if loss is None:
            from .default_loss import default_loss

            loss, loss_name = default_loss, _name_default(model, data, device)
            output.note(f"loss: {loss_name} (no --loss given)")
        else:
            loss_name = arguments.loss
        objective = landscape.Objective(loss, data, metrics)
        directions = landscape.random_directions(
            model,
            1 if arguments.line else 2,
            norm=arguments.norm,
            bias=arguments.bias,
            orthogonal=arguments.orthogonal,
            seed=arguments.seed,
        )
        make = landscape.line if arguments.line else landscape.grid
        start = time.perf_counter()
        surface = landscape.evaluate(
            model,
            objective,
            directions,
            make(arguments.line or arguments.grid, arguments.span),
            engine=arguments.engine,
            batch_norm=arguments.batch_norm,
            progress=output.progress,
        )
        seconds = time.perf_counter() - start
        origin = {
            "checkpoint": report.path,
            "model_factory": arguments.model,
            "data": arguments.data,
            "loss": loss_name,
        }
        surface = dataclasses.replace(surface, provenance={**surface.provenance, **origin, "seconds": seconds})
        save_somewhere(surface.save, arguments.out)
        record = as_record(surface, report, arguments.out)
        output.result(record, as_lines(record))
    return 0


def choose_device(name: str) -> torch.device:
    """Find a device by name.

    Args:
        name: "auto", or what torch calls it.

    Returns:
        The device.

    Raises:
        ValueError: If torch does not know it, or it is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"--device {name} cannot be used here ({reason}); use cpu or auto") from error
    return device


def _name_default(model: Any, data: Any, device: torch.device) -> str:
    """Try the default loss on the first batch, without leaving a trace in the model."""
    from ..landscape import Objective
    from ..landscape.harmless import harmless
    from .default_loss import default_loss, name_loss

    with harmless(model, loader=data):
        return name_loss(model, next(iter(Objective(default_loss, data).units(device))))
