"""Run what is missing, one process per core and one thread per process."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .configuration import Configuration
from .plan import Study
from .records import Record, Records
from .training import run
from .workloads import workloads


def prepare() -> None:
    """Let a worker compute on one thread, as two that wait for each other are slower than one, and warm it up."""
    torch.set_num_threads(1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()  # the first optimizer of a process takes a second, which no arm shall pay


def work(configuration: Configuration, data: Path | None, device: str) -> Record:
    """Run one configuration in a worker."""
    return run(configuration, workloads(data, device)[configuration.workload])


def execute(
    study: Study,
    records: Records,
    *,
    jobs: int,
    minutes: float,
    data: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], Any] = print,
) -> dict[Configuration, str]:
    """Run what a study needs, each result deciding what comes next.

    Args:
        study: What is compared; its runs are replaced by ``records``.
        records: Finished runs; new ones are written there.
        jobs: Processes.
        minutes: No run is begun later than this.
        data: Where CIFAR is, if it is.
        device: Where CIFAR is trained.
        tell: Is told about each finished run.

    Returns:
        What went wrong, by run.
    """
    study = replace(study, runs=records)
    return drain(
        lambda: (configuration for _, configuration in study.pending()),
        partial(work, data=data, device=device),
        records,
        jobs=jobs,
        minutes=minutes,
        say=line,
        tell=tell,
    )


def drain(
    pending: Callable[[], Iterable[Configuration]],
    work: Callable[[Configuration], Record],
    records: Records,
    *,
    jobs: int,
    minutes: float,
    say: Callable[[Record, float, int], str],
    tell: Callable[[str], Any] = print,
) -> dict[Configuration, str]:
    """Run what is pending until nothing is, and ask again after each run.

    Args:
        pending: Gives what is not among the records, the most wanted first.
        work: Runs one configuration in a worker.
        records: Finished runs; new ones are written there.
        jobs: Processes.
        minutes: No run is begun later than this.
        say: Puts a record into a line, with the seconds since the beginning and how many records there are.
        tell: Is told these lines.

    Returns:
        What went wrong, by run.
    """
    start = time.monotonic()
    failed: dict[Configuration, str] = {}
    running: dict[Future[Record], Configuration] = {}
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when a worker starts
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare) as pool:
        while True:
            if time.monotonic() - start < 60 * minutes:
                for configuration in pending():
                    if len(running) >= jobs:
                        break
                    if configuration not in failed and configuration not in running.values():
                        running[pool.submit(work, configuration)] = configuration
            if not running:
                return failed
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                configuration = running.pop(future)
                error = future.exception()
                if error is not None:
                    failed[configuration] = f"{type(error).__name__}: {error}"
                    tell(f"failed {configuration}: {failed[configuration]}")
                    continue
                record = future.result()
                records.add(record)
                tell(say(record, time.monotonic() - start, len(records)))


def line(record: Record, elapsed: float, count: int) -> str:
    """Say in a line what a run gave."""
    read = record["reads"].get(str(record["steps_done"]), {})
    losses = ", ".join(
        f"{weights} {read[weights]['validation']['loss']:.4f}"
        for weights in ("raw", "average")
        if weights in read and read[weights]["validation"]["loss"] is not None
    )
    rate = "–" if record["rate"] is None else f"{record['rate']:.3g}"
    return (
        f"{elapsed / 60:6.1f} min  {count:5d}  {record['workload']}  {record['kind']}  rate {rate}"
        f"  seed {record['seed']}  ×{record['horizon']:g}  batch {record['batch']}"
        f"  validation: {losses or 'diverged'}  {record['cpu']:.1f} s"
    )
