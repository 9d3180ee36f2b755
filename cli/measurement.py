"""What several commands measure, and how: model, data, loss, checkpoints, engine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .factories import build_data, build_model, load_callable, load_metrics
from .options import positive_whole
from .output import Output
from .resumption import partial_file
from .together import local_device

if TYPE_CHECKING:  # torch is slow to import, and --help does without
    import torch
    from torch import nn

    from ..landscape import CheckpointReport, Objective


def add_what(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the user's code.

    Args:
        parser: The parser of one command.
    """
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


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options of the evaluation.

    Args:
        parser: The parser of one command.
    """
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--batch-norm",
        choices=("eval", "batch", "recalibrate"),
        default="eval",
        help="statistics of BatchNorm: running (default), of each batch, or re-estimated at each point",
    )
    how.add_argument("--dropout", action="store_true", help="keep dropout on, with the same masks at every point")
    how.add_argument(
        "--engine",
        choices=("auto", "inplace", "batched", "threads"),
        default="auto",
        help="one point after the other, many in one pass, or several beside each other on the CPU (default: auto, by "
        "a short trial)",
    )
    how.add_argument("--threads", type=positive_whole, metavar="N", help="of --engine threads (default: all cores)")
    how.add_argument(
        "--chunk", type=positive_whole, metavar="N", help="points per pass over the data (default: chosen by memory)"
    )
    how.add_argument(
        "--memory",
        choices=("normal", "low"),
        default="normal",
        help="low: draw random directions again for each move and keep the backup off the device, for large models",
    )
    how.add_argument("--autocast", choices=("bfloat16", "float16"), help="evaluate under torch.autocast")
    how.add_argument("--tf32", action=argparse.BooleanOptionalAction, help="allow TF32 on NVIDIA GPUs, or forbid it")
    how.add_argument("--channels-last", action="store_true", help="lay images out with their channels innermost")
    how.add_argument("--cuda-graph", action="store_true", help="replay a recorded forward pass; with --engine inplace")
    how.add_argument(
        "--share",
        choices=("auto", "points", "batches", "data"),
        default="auto",
        help="under torchrun: what each process takes; data if each reads its own (default: auto)",
    )
    how.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto is cuda where there is one (default)"
    )


def add_loading(parser: argparse.ArgumentParser) -> Any:
    """Add the options on how checkpoints are read.

    Args:
        parser: The parser of one command.

    Returns:
        The group, for the files of the result.
    """
    load = parser.add_argument_group("checkpoint and result")
    load.add_argument("--key", help="where the weights are in CKPT, if there are several sets, e.g. ema_state_dict")
    load.add_argument("--prefix", help="take the keys that start with PREFIX, and strip it, if several would fit")
    load.add_argument(
        "--unsafe-load",
        action="store_true",
        help="unpickle any object in CKPT, which can run any code: only for files you trust",
    )
    return load


def add_files(parser: argparse.ArgumentParser) -> Any:
    """Add the options on how checkpoints are read and where the result goes.

    Args:
        parser: The parser of one command.

    Returns:
        The group, for further files.
    """
    load = add_loading(parser)
    load.add_argument("-o", "--out", type=Path, default=Path("surface.npz"), help="the result (default: surface.npz)")
    load.add_argument("--resume", action="store_true", help="go on with a scan that was cut off, from OUT.partial")
    load.add_argument("--overwrite", action="store_true", help="replace OUT, and other results, if they exist")
    return load


@dataclass(frozen=True, eq=False)
class Measurement:
    """The user's model with a checkpoint's weights, and what is computed with it.

    Attributes:
        model: On the device, standing at the checkpoint.
        report: On the loading of the checkpoint.
        objective: Loss, data and metrics.
        loss_name: For a person.
        how: Options of ``landscape.evaluate``; none for a command that has no :func:`add_how`.
    """

    model: nn.Module
    report: CheckpointReport
    objective: Objective
    loss_name: str
    how: dict[str, Any]

    @property
    def modes(self) -> dict[str, Any]:
        """Those of the options that have a meaning without an engine."""
        return {name: self.how[name] for name in ("batch_norm", "dropout", "progress")}


def prepare(arguments: argparse.Namespace, checkpoint: str, output: Output) -> Measurement:
    """Import, build and load all that a measurement needs.

    Args:
        arguments: Of the command.
        checkpoint: Whose weights the model gets.
        output: For notes.

    Returns:
        The measurement.
    """
    from .. import landscape

    metrics = load_metrics(arguments.metric)
    loss = None if arguments.loss is None else load_callable(arguments.loss, "--loss")
    device = choose_device(arguments.device)
    model = build_model(arguments.model)
    report = load_into(model, checkpoint, arguments)
    output.note(f"loaded {report.path}: {report}")
    model.to(device)
    data = build_data(arguments.data)
    if loss is None:
        from .default_loss import default_loss

        loss, loss_name = default_loss, _name_default(model, data, device)
        output.note(f"loss: {loss_name} (no --loss given)")
    else:
        loss_name = arguments.loss
    scanned = hasattr(arguments, "engine")  # by a command that has the options of add_how
    objective = landscape.Objective(loss, data, metrics, channels_last=scanned and arguments.channels_last)
    return Measurement(model, report, objective, loss_name, _how(arguments, output) if scanned else {})


def _how(arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    """Read the options of ``landscape.evaluate``."""
    import torch

    return {
        "engine": arguments.engine,
        "batch_norm": arguments.batch_norm,
        "dropout": arguments.dropout,
        "chunk": arguments.chunk,
        "threads": arguments.threads,
        "memory": "low" if arguments.memory == "low" else None,
        "autocast": None if arguments.autocast is None else getattr(torch, arguments.autocast),
        "tf32": arguments.tf32,
        "cuda_graph": arguments.cuda_graph,
        "share": arguments.share,
        "partial": partial_file(arguments.out),
        "progress": output.progress,
    }


def load_into(model: nn.Module, path: str, arguments: argparse.Namespace) -> CheckpointReport:
    """Load a checkpoint as the options of the command say.

    Args:
        model: Where to.
        path: The checkpoint.
        arguments: Of the command.

    Returns:
        What was loaded.
    """
    from ..landscape import load_checkpoint

    return load_checkpoint(model, path, key=arguments.key, prefix=arguments.prefix, unsafe=arguments.unsafe_load)


class Checkpoints(Sequence[Any]):
    """Checkpoints of one run, each read when it is asked for, into one and the same model.

    Args:
        paths: In the order of training.
        arguments: Of the command.
    """

    def __init__(self, paths: Sequence[str], arguments: argparse.Namespace) -> None:
        self._paths, self._arguments = tuple(paths), arguments
        self._model = build_model(arguments.model)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        load_into(self._model, self._paths[index], self._arguments)
        return self._model


def warn_of_statistics(measurement: Measurement, output: Output) -> None:
    """Note that away from a checkpoint the running statistics of BatchNorm are another's.

    Args:
        measurement: What is measured.
        output: For the note.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    tracked = [m for m in measurement.model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if tracked and measurement.how["batch_norm"] == "eval":
        output.note(
            f"BatchNorm: every point is measured with the running statistics of {measurement.report.path}, which are "
            "not those of the other checkpoints; --batch-norm recalibrate re-estimates them at each point"
        )


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
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{local_device()}"
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
