"""Full disks, folders that vanish, and machines without home, display, network or other processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrscape.landscape import LossSurface, grid

SUPPORT = Path(__file__).parent.parent / "support"
SCENARIOS = [
    "file_size_limit", "disk_full", "read_only", "vanishing_folder", "vanishing_working_directory", "memory_limit",
]  # fmt: skip


def told_of(folder, *scenarios):
    if not hasattr(os, "fork"):
        pytest.skip("children that share what is loaded need fork")
    command = [sys.executable, str(SUPPORT / "harsh_places.py"), str(folder), *scenarios]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return told_of(tmp_path_factory.mktemp("harsh places ä"), *SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(told, scenario):
    if told[scenario].startswith("skipped"):
        pytest.skip(told[scenario])
    assert told[scenario] == ""


@pytest.mark.slow
def test_every_command_without_network_other_processes_or_a_writable_installation(tmp_path):
    assert told_of(tmp_path, "every_command") == {"every_command": ""}


SURROUNDINGS = {
    "bare": {},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"},
    "no window": {"MPLBACKEND": "TkAgg", "LC_ALL": "C.UTF-8", "TZ": "America/St_Johns", "HOME": "/nonexistent"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_process_that_knows_next_to_nothing(name, tmp_path):
    """Neither home nor display nor a wide encoding, and names that need one."""
    folder = tmp_path / "my dätä 中 $x_1$"
    folder.mkdir()
    points = grid(5)
    LossSurface(points.coordinates, np.arange(25.0), points.shape).save(folder / "sürface μ.npz")
    environment = {"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1", **SURROUNDINGS[name]}
    command = [sys.executable, "-m", "lrscape", "plot", "sürface μ.npz", "-o", "figures ä"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    drawn = sorted(path.name for path in (folder / "figures ä").iterdir())
    assert drawn == ["sürface μ-contour.png", "sürface μ-surface.png"]
