"""Thousands of steps leave nothing behind."""

import gc
from pathlib import Path

import pytest
import torch
from contract import FACTORIES

from lrscape.testing import CASES

QUICK, LONG = 300, 10_000


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def alive():
    gc.collect()
    tensors = [entry for entry in gc.get_objects() if issubclass(type(entry), torch.Tensor)]
    return len(tensors), sum(tensor.numel() for tensor in tensors), len(gc.get_objects())


def endured(name, steps, interval):
    interval = 1 if name == "ValleyLR" else interval  # an ascent that is hardly watched diverges
    run = CASES[0].start(FACTORIES[name], interval=interval, warmup=0, history_size=10)
    run.train(steps // 3)
    before, room = alive(), resident()
    run.train(steps - steps // 3)
    after = alive()
    assert len(run.scheduler.history) <= 10
    assert after[0] <= before[0], f"tensors alive: {before[0]}, then {after[0]}"
    assert after[1] <= before[1], f"numbers alive: {before[1]}, then {after[1]}"
    assert after[2] <= before[2] + 200, f"objects alive: {before[2]}, then {after[2]}"
    return resident() - room


@pytest.mark.parametrize("name", [name for name in FACTORIES if "published" not in name])
def test_hundreds_of_steps_leave_nothing_behind(name):
    endured(name, QUICK, 15)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from Linux")
@pytest.mark.parametrize("name", FACTORIES)
def test_ten_thousand_steps_are_flat_in_memory(name):
    grown = endured(name, LONG, 50)
    assert grown < 16 * 2**20, f"the process grew by {grown / 2**20:.1f} MiB in the last two thirds"
