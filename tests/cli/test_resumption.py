"""A scan that was cut off goes on, nothing is lost, and several processes share one."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrscape.landscape import LossSurface, scan_state
from lrscape.landscape.partial_scan import PartialScan

HOW = ("--engine", "inplace", "--loss", "usercode:loss")


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(scan_state, "BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(scan_state, "SAVING", 1e9)


@pytest.fixture
def cut(probe, monkeypatch, capsys):
    """A scan of 25 points that was interrupted after some of them."""
    monkeypatch.syspath_prepend(Path.cwd())
    usercode = importlib.import_module("usercode")
    kept, calls = usercode.loss, iter(range(1000))

    def loss(model, batch):
        if next(calls) == 40:
            raise KeyboardInterrupt
        return kept(model, batch)

    loss.__module__, loss.__qualname__ = kept.__module__, kept.__qualname__
    monkeypatch.setattr(usercode, "loss", loss)
    assert probe("--grid", "5", *HOW) == 130
    monkeypatch.setattr(usercode, "loss", kept)
    capsys.readouterr()
    return int(PartialScan.load("surface.npz.partial").done.sum())


@pytest.mark.usefixtures("often")
class TestResumption:
    def test_it_goes_on_and_cleans_up(self, cut, probe, capsys):
        assert 0 < cut < 25
        assert probe("--grid", "5", *HOW, "--resume", "--json") == 0
        out, err = capsys.readouterr()
        record = json.loads(out)
        assert record["resumed"] == cut
        assert record["points_per_second"] == pytest.approx((25 - cut) / record["seconds"])
        assert "going on from surface.npz.partial" in err
        assert not Path("surface.npz.partial").exists()
        resumed = LossSurface.load("surface.npz")
        assert probe("--grid", "5", *HOW, "--out", "whole.npz") == 0
        assert np.array_equal(resumed.losses, LossSurface.load("whole.npz").losses)

    def test_the_lines_for_a_person_tell_it(self, cut, probe, capsys):
        assert probe("--grid", "5", *HOW, "--resume") == 0
        out = capsys.readouterr().out
        assert f"resumed     {cut} points were measured before" in out
        assert f"s for {25 - cut} points" in out

    def test_without_a_word_nothing_is_dropped(self, cut, probe, capsys):
        assert probe("--grid", "5", *HOW) == 1
        err = capsys.readouterr().err
        assert "surface.npz.partial holds the points of a scan that was cut off; go on with --resume, or drop" in err
        assert int(PartialScan.load("surface.npz.partial").done.sum()) == cut

    def test_overwrite_starts_anew(self, cut, probe):
        assert probe("--grid", "5", *HOW, "--overwrite") == 0
        assert "resumed" not in LossSurface.load("surface.npz").provenance
        assert not Path("surface.npz.partial").exists()

    def test_another_scan_is_refused(self, cut, probe, capsys):
        assert probe("--grid", "5", "--seed", "8", *HOW, "--resume") == 1
        err = capsys.readouterr().err
        assert "surface.npz.partial holds" in err
        assert "of another scan: its directions" in err
        assert int(PartialScan.load("surface.npz.partial").done.sum()) == cut

    def test_killed_between_writing_and_cleaning_up(self, cut, probe):
        assert probe("--grid", "5", *HOW, "--out", "other.npz") == 0
        Path("other.npz").replace("surface.npz")
        assert probe("--grid", "5", *HOW, "--resume") == 0


def test_resume_without_anything_to_go_on_from_starts(probe, capsys):
    assert probe("--resume") == 0
    assert "there is no surface.npz.partial to go on from: starting anew" in capsys.readouterr().err


def test_a_finished_surface_is_not_replaced_by_resume(probe, capsys):
    assert probe() == 0
    assert probe("--resume") == 1
    assert "surface.npz exists already" in capsys.readouterr().err


def test_options_of_scale_reach_the_library(probe):
    assert probe("--memory", "low", "--line", "5", "--out", "low.npz") == 0
    assert LossSurface.load("low.npz").provenance["memory"] == "low"
    assert probe("--line", "5", "--out", "normal.npz") == 0
    low, normal = (LossSurface.load(f"{name}.npz").losses for name in ("low", "normal"))
    np.testing.assert_allclose(low, normal, rtol=1e-5)
    assert probe("--engine", "threads", "--threads", "2", "--out", "threads.npz") == 0
    assert LossSurface.load("threads.npz").provenance["threads"] == 2
    assert probe("--autocast", "bfloat16", "--tf32", "--share", "data", "--out", "cast.npz") == 0
    origin = LossSurface.load("cast.npz").provenance
    assert (origin["autocast"], origin["tf32"]) == ("torch.bfloat16", "True")


def torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        [*command, "-m", "lrscape", "probe", *arguments], capture_output=True, text=True, env=environment,
        check=False, timeout=240,
    )  # fmt: skip


USUAL = ("model.pt", "--model", "usercode:model", "--data", "usercode:data", "--loss", "usercode:loss")


def test_torchrun_shares_one_scan(probe):
    done = torchrun(2, *USUAL, "--grid", "5", "--engine", "inplace", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # one result, not two
    assert record["ranks"] == 2
    assert probe("--grid", "5", *HOW, "--out", "alone.npz") == 0
    shared, alone = LossSurface.load("surface.npz"), LossSurface.load("alone.npz")
    assert np.array_equal(shared.losses, alone.losses)
    assert not Path("surface.npz.partial").exists()


def test_torchrun_tells_a_failure(probe):
    done = torchrun(2, *USUAL[:-1], "usercode:wrong", "--grid", "3")
    assert done.returncode != 0
    assert "lrscape: error: IndexError" in done.stderr or "lrscape: error: TypeError" in done.stderr
    assert "could not evaluate its part" not in done.stderr
