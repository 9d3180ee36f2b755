"""Run the package where disks are full, folders vanish and nothing may be started.

    python harsh_places.py FOLDER SCENARIO...

Each scenario runs in a forked child of its own, with limits and mounts of its own. Prints one JSON object: "" for a
scenario that went well, "skipped: why", or what went wrong.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from harsh_commands import READ_ONLY, REMOUNT, USUAL, Skipped, every_command, mounts, run, surface, user
from harsh_memory import memory_limit
from torch import nn

from lrscape import viz
from lrscape.landscape import random_directions
from lrscape.landscape.engines import Choice
from lrscape.landscape.files import atomic_write
from lrscape.landscape.partial_scan import PartialScan
from lrscape.schedulers import Decision, History


def picture(path):
    viz.save(viz.contour(surface(5)), path)


def history(path):
    made = History(100)
    for step in range(100):
        made.append(Decision(step, {"loss": 1.0, "a rather long name": 2.0}, [1.0], "flat", [0.1]))
    made.to_jsonl(path)


def checkpoint(path):
    with atomic_write(path) as file:
        torch.save(torch.randn(10_000), file)


def partial_scan(path):
    PartialScan({"a": "b"}, Choice("inplace", 1), [], np.ones(900, bool), np.ones((5, 900, 1)), 1).save(path)


WRITERS = {
    "surface.npz": lambda path: surface().save(path),
    "directions.npz": lambda path: random_directions(nn.Linear(60, 60), 2).save(path),
    "scan.partial": partial_scan,
    "history.jsonl": history,
    "picture.png": picture,
    "checkpoint.pt": checkpoint,
}


def refused(folder):
    """Each writer must fail with an error that names the file, and leave the older files and nothing else."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, write in WRITERS.items():
        with pytest.raises(OSError, match="cannot write") as failed:
            write(folder / name)
        assert name in str(failed.value), f"{name}: the message does not name the file: {failed.value}"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, f"{name} left something"


def older(folder):
    for name in WRITERS:
        (folder / name).write_bytes(b"old")


def mounted(libc, folder, size, flags=0):
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", flags, f"size={size}".encode()):
        raise Skipped(f"tmpfs cannot be mounted here ({os.strerror(ctypes.get_errno())})")


def file_size_limit(folder):
    older(folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    refused(folder)


def disk_full(folder):
    mounted(mounts(), folder, "64k")
    older(folder)
    with (folder / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while True:
            rest.write(b"x" * 4096)
    refused(folder)


def read_only(folder):
    libc = mounts()
    mounted(libc, folder, "1m")
    older(folder)
    mounted(libc, folder, "1m", READ_ONLY | REMOUNT)
    refused(folder)
    user(folder.parent / "elsewhere")
    code, told = run("probe", *USUAL, "--grid", "3", "--out", str(folder / "new.npz"))
    assert code == 1, told
    assert "cannot write" in told, told
    assert "new.npz" in told, told


def vanishing_folder(folder):
    there, moved = folder / "there", folder / "moved"

    def write(meanwhile):
        there.mkdir()
        with atomic_write(there / "file") as file:
            file.write(b"new")
            meanwhile()

    for meanwhile in (lambda: shutil.rmtree(there), lambda: there.rename(moved)):
        with pytest.raises(OSError, match=r"cannot write .*there/file"):
            write(meanwhile)
    assert list(moved.iterdir()) == []


def vanishing_working_directory(folder):
    user(folder)
    shutil.rmtree(folder)
    for arguments in (["probe", *USUAL], ["plot", "surface.npz"], ["tda", "surface.npz"]):
        code, told = run(*arguments)
        assert code == 1, told
        assert told.startswith("lrscape: error: "), told
        assert "Traceback" not in told, told


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        file_size_limit, disk_full, read_only, vanishing_folder, vanishing_working_directory, every_command,
        memory_limit,
    )
}  # fmt: skip


def main():
    folder, told = Path(sys.argv[1]).resolve(), {}
    mpl.use("Agg")
    torch.set_num_threads(1)
    for name in sys.argv[2:] or SCENARIOS:
        (folder / name).mkdir()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                SCENARIOS[name](folder / name)
                text = ""
            except Skipped as reason:
                text = f"skipped: {reason}"
            except BaseException:
                text = traceback.format_exc()[-3000:]
            os.write(writing, text.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told[name] = pipe.read()
        _, status = os.waitpid(child, 0)
        if status:
            told[name] += f"ended with status {status}"
    sys.stdout.write(json.dumps(told))


main()
