"""Training that is killed goes on from its checkpoint as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract import FACTORIES

SUPPORT = Path(__file__).parent.parent / "support"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children that share what is loaded need fork")


def killed(folder, kills, seed, how):
    command = [sys.executable, str(SUPPORT / "killed_training.py"), str(folder), str(kills), str(seed), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def nameless(folder):
    """Tell whether a file can be without a name here until it is complete."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        return False
    return True


def check(found, kills, folder):
    assert found["kills"] == kills
    assert found["differ"] == []
    assert found["decisions"] > 0  # histories that are compared are not empty
    if nameless(folder):  # else a kill may leave what it was writing
        assert found["left_behind"] == ["run.json", "run.pt", "whole.json", "whole.pt"]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_every_scheduler_in_turn_ends_with_the_bits_of_an_uninterrupted_run(kills, tmp_path):
    found = killed(tmp_path, kills, kills, "together")["together"]
    check(found, kills, tmp_path)
    assert found["schedulers"] == len(FACTORIES)
    assert found["resumed"] > 0


@pytest.mark.slow
def test_twenty_kills_of_each_scheduler(tmp_path):
    found = killed(tmp_path, 20, 5, "each")
    assert set(found) == set(FACTORIES)
    for one in found.values():
        check(one, 20, tmp_path)
