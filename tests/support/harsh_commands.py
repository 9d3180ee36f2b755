"""Every command, in a user's folder, watched for what a command must not do."""

import ctypes
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

import lrscape
from lrscape.cli import COMMANDS
from lrscape.cli import main as command
from lrscape.landscape import LossSurface, grid

PACKAGE = Path(lrscape.__file__).parent
NEW_USERS, NEW_MOUNTS, READ_ONLY, REMOUNT, BIND, PRIVATE = 0x10000000, 0x20000, 1, 32, 4096, 1 << 18 | 16384

USERCODE = """
import torch, torch.nn.functional as F
from torch import nn
x = torch.linspace(-1, 1, 36).reshape(12, 3)
def model(): return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
def data(): return [(x, torch.arange(12) % 2)]
def loss(model, batch): return F.cross_entropy(model(batch[0]), batch[1])
"""
USUAL = ("model.pt", "--model", "usercode:model", "--data", "usercode:data", "--loss", "usercode:loss")
EVERY_COMMAND = {
    "demo": ["--steps", "20", "--grid", "3", "-o", "demo ä"],
    "probe": [*USUAL, "--grid", "3", "--engine", "threads", "--threads", "2", "--out", "sürface μ.npz"],
    "plot": ["surface.npz", "--kind", "contour,surface,basins,persistence,barcode,mergetree", "-o", "figures 中"],
    "trajectory": ["model.pt", "b.pt", "c.pt", *USUAL[1:], "--grid", "3", "--out", "path.npz", "--figure", "path.png"],
    "compare": ["surface.npz", "sürface μ.npz", "-o", "both.png"],
    "curvature": [*USUAL],
    "tda": ["surface.npz", "-o", "tda figures"],
    "schedule": ["cosine", "wsd:sqrt", "--steps", "20", "--lr", "0.1", "-o", "schedules.png"],
    "report": [*USUAL, "--grid", "3", "--out", "report ä.html"],
}


class Skipped(Exception):
    """A scenario that this system does not allow."""


def mounts():
    """Give this process mounts of its own, if the system lets it."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in (NEW_MOUNTS, NEW_USERS | NEW_MOUNTS):
        if libc.unshare(kind) == 0 and libc.mount(None, b"/", None, PRIVATE, None) == 0:
            return libc
    raise Skipped(f"mounts of one's own are not allowed here ({os.strerror(ctypes.get_errno())})")


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def surface(n=31):
    points = grid(n)
    return LossSurface(points.coordinates, np.random.default_rng(0).random(n * n), points.shape)


def user(folder):
    """Stand in a user's folder with code and checkpoints of their own."""
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    Path("usercode.py").write_text(USERCODE)
    made = model()
    for name in ("model.pt", "b.pt", "c.pt"):
        torch.save(made.state_dict(), name)
        with torch.no_grad():
            made[0].weight.add_(torch.randn(4, 3))
    surface(9).save("surface.npz")


def run(*arguments):
    """Call the command line; give its exit code and what it wrote to standard error."""
    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()):
        code = command([*arguments])
    return code, told.getvalue()


class Watch:
    """Notes sockets, other processes, and files written into the package's own folder."""

    def __init__(self, folder):
        self.found, self.folder = [], str(folder)
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        starts = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}
        if event.startswith("socket.") or event in starts:
            self.found.append(f"{event} {arguments}")
        elif event in {"open", "os.mkdir", "os.remove", "os.rename", "os.link"}:
            writes = event != "open" or (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
            place = str(arguments[0])
            theirs = place.startswith(self.folder) or "__pycache__" in place  # Python asks, and does without
            if writes and place.startswith(str(PACKAGE)) and not theirs:
                self.found.append(f"{event} {arguments}")


def every_command(folder):
    """No network, no other process, nothing written beside the user's own folder; on a read-only installation."""
    user(folder)
    with suppress(Skipped):  # then the watch alone sees what is written
        libc = mounts()
        for flags in (BIND, BIND | REMOUNT | READ_ONLY):
            libc.mount(str(PACKAGE).encode(), str(PACKAGE).encode(), None, flags, None)
    sys.dont_write_bytecode = False
    watch = Watch(folder)
    for name in [module.__name__.rpartition(".")[2] for module in COMMANDS]:
        code, told = run(name, *EVERY_COMMAND[name], "--debug")
        assert code == 0, f"{name}: {told}"
    assert not watch.found, watch.found
