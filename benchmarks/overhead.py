"""What does each scheduler and optimizer add to a training step, in plain steps?

Plain steps, the mode's own steps and its probes are timed in turn; overhead = added at every step + probes per step ×
time of a probe, in plain steps, with the mode's default interval. On a CPU it is the processor time of one thread.
Batches are generated, of real shapes. Every finished cell is a line of results/overhead.jsonl, and is not repeated.
``--loop`` trains CifarNet as a user would, step by step beside plain training, to confirm what is composed.

    python -m lrscape.benchmarks.overhead [--models …] [--modes …] [--device cpu] [--rounds 15] [--minutes 60] [--loop]
    python -m lrscape.benchmarks.overhead report
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..landscape.files import atomic_write
from .overhead_clock import clock_of, measure
from .overhead_loop import LOOPS, ratios
from .overhead_models import SUBJECTS, Batch, Subject
from .overhead_modes import MODES
from .study.records import whole_lines

RESULTS = Path(__file__).parent / "results" / "overhead.jsonl"
BATCHES = 4  # different ones, so that what a probe finds is not what it found last
ONLY_SMALL = {"AdaptiveHomotopyLR", "PerLayerHomotopyLR", "TopoCNNLR", "topoadamw", "topoadamw, TopoCNN"}
Record = dict[str, Any]


def quartiles(values: Sequence[float]) -> list[float]:
    """Give the lower quartile, the median and the upper quartile."""
    return [float(value) for value in np.percentile(values, [25, 50, 75])]


def place(device: torch.device, kind: str) -> Record:
    """Say where and with what is measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type, "hardware": name, "kind": kind, "date": date.today().isoformat(),
        "torch": str(torch.__version__), "python": platform.python_version(), "threads": torch.get_num_threads(),
    }  # fmt: skip


def drawn(subject: Subject, size: int, device: torch.device) -> list[Batch]:
    """Make batches on a device."""
    torch.manual_seed(0)
    made = [subject.draw(size) for _ in range(BATCHES)]
    return [(x.to(device), y.to(device)) for x, y in made]


def composed(subject: Subject, mode: str, device: torch.device, wall: bool, rounds: int, seconds: float) -> Record:
    """Measure one cell.

    Args:
        subject: The model.
        mode: Of :data:`~lrscape.benchmarks.overhead_modes.MODES`.
        device: Where.
        wall: Take the time by the wall clock.
        rounds: See :func:`~lrscape.benchmarks.overhead_clock.measure`.
        seconds: Likewise.

    Returns:
        The record. What overhead is made of is measured in plain steps; quartiles are over rounds.
    """
    kind, clock = clock_of(device, wall)
    size = subject.batch_on_gpu if device.type == "cuda" else subject.batch
    batches = drawn(subject, size, device)
    model = subject.make().to(device)
    arm = MODES[mode](model)
    parts = measure(model, arm, batches, clock, rounds, seconds)
    found: Record = {"what": "composed", "model": subject.name, "mode": mode, **place(device, kind), "batch": size}
    found |= {"parameters": sum(p.numel() for p in model.parameters()), "rounds": len(parts.core)}
    found |= {"step_seconds": quartiles(parts.plain()), "frequency": arm.frequency}
    found["every_step"] = quartiles(parts.every_step())
    if arm.probe is not None:
        found["probe"] = quartiles(parts.probes())
    if arm.training is not None:
        found["training_seconds"] = parts.training
    return {**found, **arm.told()}


def looped(modes: Sequence[str], device: torch.device, wall: bool, rounds: int) -> Iterator[Record]:
    """Train CifarNet by modes, and give a record of each."""
    subject = SUBJECTS["CifarNet"]
    kind, clock = clock_of(device, wall)
    size = subject.batch_on_gpu if device.type == "cuda" else subject.batch
    batches = drawn(subject, size, device)
    found = ratios(lambda: subject.make().to(device), modes, batches, clock, rounds)
    for mode, values in found.items():
        head = {"what": "loop", "model": subject.name, "mode": mode, **place(device, kind), "batch": size}
        yield {**head, "rounds": len(values), "overhead": quartiles(values)}


def key(record: Record) -> tuple[str, ...]:
    """Say which cell a record is of."""
    return tuple(record[name] for name in ("what", "model", "mode", "device", "kind"))


def read(path: Path) -> dict[tuple[str, ...], Record]:
    """Read the newest record of each cell; a line that was cut off does not count."""
    lines = whole_lines(path) if path.exists() else []
    return {key(record): record for record in map(json.loads, lines)}


def write(path: Path, record: Record) -> None:
    """Add a line, and drop one that was cut off."""
    lines = whole_lines(path) if path.exists() else []
    with atomic_write(path) as file:
        file.writelines(line + b"\n" for line in [*lines, json.dumps(record, allow_nan=False).encode()])


def percent(values: Sequence[float]) -> str:
    """Word quartiles of a share."""
    low, middle, high = (100 * value for value in values)
    digits = 1 if abs(middle) < 100 else 0
    return f"{middle:.{digits}f} % ({low:.{digits}f}–{high:.{digits}f})"


def overhead(record: Record) -> list[float]:
    """Give quartiles of what a mode adds to training, as a share of it without the mode.

    Args:
        record: Of a loop, or of a cell, of which it is composed: added at every step + probes per step × time of a
            probe in steps, lower quartiles with lower ones and so on.

    Returns:
        The lower quartile, the median and the upper quartile.
    """
    if record["what"] == "loop":
        return list(record["overhead"])
    probe = record.get("probe", [0.0] * 3)
    return [step + record["frequency"] * one for step, one in zip(record["every_step"], probe, strict=True)]


def summary(records: Sequence[Record]) -> str:
    """Lay out overheads by mode and model, as medians and quartiles."""
    models = [name for name in SUBJECTS if any(r["model"] == name for r in records)]
    steps = {name: [r["step_seconds"][1] for r in records if r["model"] == name] for name in models}
    sizes = {name: next(r["batch"] for r in records if r["model"] == name) for name in models}
    heads = [f"{name}, {sizes[name]}: {np.median(steps[name]) * 1e3:.0f} ms" for name in models]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(models) + 1) + "|"]
    cells = {(r["mode"], r["model"]): percent(overhead(r)) for r in records}
    rows = [mode for mode in MODES if any(mode == row for row, _ in cells)]
    lines += [f"| {mode} | {' | '.join(cells.get((mode, name), '–') for name in models)} |" for mode in rows]
    return "\n".join(lines)


def details(records: Sequence[Record]) -> str:
    """Lay out what the overhead on one model is made of."""
    lines = ["| | a probe, in steps | one in … steps | added at every step | overhead |", "|---|---|---|---|---|"]
    for record in records:
        probe = "{1:.2f} ({0:.2f}–{2:.2f})".format(*record["probe"]) if "probe" in record else "–"
        every = f"{1 / record['frequency']:.0f}" if record["frequency"] > 0 else "–"
        cells = (record["mode"], probe, every, percent(record["every_step"]), percent(overhead(record)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(records: Sequence[Record]) -> str:
    """Lay out everything that was measured, by device and kind of time."""
    texts = []
    for where in dict.fromkeys((r["device"], r["hardware"], r["kind"], r["torch"], r["threads"]) for r in records):
        names = ("device", "hardware", "kind", "torch", "threads")
        here = [r for r in records if tuple(r[name] for name in names) == where]
        cells = [r for r in here if r["what"] == "composed"]
        texts.append(f"{where[0]} ({where[1]}), {where[2]} time, torch {where[3]}, threads: {where[4]}")
        if cells:
            texts.append(summary(cells))
        for model in (name for name in SUBJECTS if any(r["model"] == name for r in cells)):
            inside = [r for r in cells if r["model"] == model]
            texts.append(f"{model}, {inside[0]['parameters']:,} parameters, batch of {inside[0]['batch']}:")
            texts.append(details(sorted(inside, key=lambda r: list(MODES).index(r["mode"]))))
        whole = {r["mode"]: r for r in here if r["what"] == "loop"}
        if whole:
            both = {r["mode"]: percent(overhead(r)) for r in cells if r["model"] == "CifarNet"}
            rows = [f"| {m} | {both.get(m, '–')} | {percent(r['overhead'])} |" for m, r in whole.items()]
            texts.append("\n".join(["| CifarNet | composed | in the loop |", "|---|---|---|", *rows]))
    return "\n\n".join(texts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["run", "report"], default="run")
    parser.add_argument("--models", nargs="+", default=list(SUBJECTS), choices=list(SUBJECTS))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), help="by default all, and on large models the cheap")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--wall", action="store_true", help="take the time by the wall clock on a CPU, too")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0, help="no round of a cell begins later than that")
    parser.add_argument("--minutes", type=float, default=60.0, help="no cell begins later than that")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure anew what is there; the newest counts")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.command == "report":
        sys.stdout.write(report(list(read(options.results).values())) + "\n")
        return
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    kind = clock_of(device, options.wall)[0]
    done = {} if options.again else read(options.results)
    until = time.monotonic() + 60 * options.minutes
    if options.loop:
        names = [mode for mode in options.modes or LOOPS if mode in LOOPS]
        names = [mode for mode in names if ("loop", "CifarNet", mode, device.type, kind) not in done]
        for record in looped(names, device, options.wall, options.rounds) if names else ():
            write(options.results, record)
        return
    for name in options.models:
        chosen = options.modes or [mode for mode in MODES if name == "CifarNet" or mode not in ONLY_SMALL]
        for mode in chosen:
            if ("composed", name, mode, device.type, kind) in done or time.monotonic() > until:
                continue
            try:
                record = composed(SUBJECTS[name], mode, device, options.wall, options.rounds, options.seconds)
            except ModuleNotFoundError as error:  # topoadamw is not a dependency
                sys.stderr.write(f"{mode}: {error}\n")
                continue
            write(options.results, record)
            sys.stderr.write(f"{name}, {mode}: {percent(overhead(record))}, {record['rounds']} rounds\n")


if __name__ == "__main__":
    main()
