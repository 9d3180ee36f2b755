"""``lrscape probe`` measures what the library measures, says what it did, and fails with one sentence."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

import lrscape
from lrscape import landscape
from lrscape.cli import build_parser, main
from lrscape.cli.measurement import choose_device
from lrscape.landscape import LossSurface
from lrscape.landscape.evaluate import Engine
from lrscape.landscape.modes import BatchNorm
from lrscape.landscape.normalisation import Length


def test_surface_is_the_librarys(probe, capsys):
    assert probe("--loss", "usercode:loss", "--metric", "top1=usercode:top1", "--span", "0.5", "--seed", "3") == 0
    surface = LossSurface.load("surface.npz")
    import usercode

    model = usercode.model()
    model.load_state_dict(torch.load("model.pt")["model"])
    directions = landscape.random_directions(model, 2, seed=3)
    objective = landscape.Objective(usercode.loss, usercode.data())
    expected = landscape.evaluate(model, objective, directions, landscape.grid(3, 0.5))
    assert np.array_equal(surface.losses, expected.losses)
    assert set(surface.metrics) == {"top1"}
    origin = surface.provenance
    assert (origin["checkpoint"], origin["loss"], origin["seed"]) == ("model.pt", "usercode:loss", 3)
    assert (origin["model_factory"], origin["data"]) == ("usercode:model", "usercode:data")
    out, err = capsys.readouterr()
    for name in ("center", "minimum", "maximum", "top1", "points/s", "engine", "surface.npz"):
        assert name in out
    assert "loaded model.pt: 4 tensors, under 'model'" in err
    assert "27/27" in err  # the progress bar: 9 points, 3 batches


def test_options_reach_the_library(probe):
    assert (
        probe("--line", "5", "--norm", "layer", "--bias", "match", "--engine", "batched", "--out", "a/b/line.npz") == 0
    )
    surface = LossSurface.load("a/b/line.npz")
    assert surface.shape == (5,)
    told = {"norm": "layer", "bias": "match", "engine": "batched", "batch_norm": "eval", "orthogonal": False}
    assert {name: surface.provenance[name] for name in told} == told
    assert probe("--orthogonal", "--batch-norm", "recalibrate", "--engine", "inplace", "--norm", "none") == 0
    told = {"norm": "none", "engine": "inplace", "batch_norm": "recalibrate", "orthogonal": True}
    provenance = LossSurface.load("surface.npz").provenance
    assert {name: provenance[name] for name in told} == told


def test_choices_are_the_librarys():
    command = build_parser()._subparsers._group_actions[0].choices["probe"]
    choices = {action.dest: action.choices for action in command._actions}
    assert set(choices["norm"]) == set(get_args(Length))
    assert choices["engine"] == get_args(Engine)
    assert choices["batch_norm"] == get_args(BatchNorm)


def test_json_is_all_of_standard_output(probe, capsys):
    assert probe("--json", data="usercode:noisy") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "printed by the user's code" in err
    assert result["command"] == "probe"
    assert (result["points"], result["shape"], result["not_finite"]) == (9, [3, 3], 0)
    assert result["checkpoint"]["key"] == "model"
    assert result["loss"] == "cross-entropy"
    assert result["minimum"]["loss"] <= result["center"] <= result["maximum"]["loss"]
    assert len(result["maximum"]["at"]) == 2
    assert result["points_per_second"] > 0
    assert result["device"] == "cpu"
    assert result["engine"] in {"inplace", "batched"}


def test_quiet(probe, capsys):
    assert probe("--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert Path("surface.npz").exists()
    assert probe("-q", "--json", "--overwrite") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["out"] == "surface.npz"
    assert err == ""


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [
        ("usercode:data", "usercode:model", "cross-entropy"),
        ("usercode:floats", "usercode:model", "mean squared error"),
        ("usercode:dicts", "usercode:WithLoss", "the output's .loss"),
    ],
)
def test_default_loss_is_named(probe, capsys, data, model, name):
    if model.endswith("WithLoss"):
        torch.save({"linear.weight": torch.ones(2, 3), "linear.bias": torch.ones(2)}, "model.pt")
    assert probe("--json", data=data, model=model) == 0
    out, err = capsys.readouterr()
    assert f"loss: {name} (no --loss given)" in err
    assert json.loads(out)["loss"] == name


def test_losses_that_are_not_finite(probe, capsys):
    assert probe("--loss", "usercode:infinite") == 0
    out = capsys.readouterr().out
    assert "no loss is finite" in out
    assert "9 of 9 losses" in out
    assert probe("--loss", "usercode:infinite", "--json", "--overwrite") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["center"], result["minimum"], result["not_finite"]) == (None, None, 9)


def test_prefix_is_reported(probe, capsys):
    state = torch.load("model.pt")["model"]
    torch.save({"state_dict": {f"model.{name}": value for name, value in state.items()}}, "last.ckpt")
    assert probe(checkpoint="last.ckpt") == 0
    out, err = capsys.readouterr()
    assert "'model.' stripped" in out
    assert "'model.' stripped" in err
    both = {f"{who}.{name}": value for name, value in state.items() for who in ("student", "teacher")}
    torch.save({"ema": both, "raw": both}, "two.pt")
    assert probe("--key", "ema", "--prefix", "teacher.", "--overwrite", "--json", checkpoint="two.pt") == 0
    report = json.loads(capsys.readouterr().out)["checkpoint"]
    assert (report["key"], report["stripped"], len(report["outside"])) == ("ema", "teacher.", 4)


def test_the_engine_that_ran_is_told(probe, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("lrscape.landscape.engines"), "_logged", set())
    torch.save(nn.LSTM(3, 2).state_dict(), "model.pt")
    assert probe("--engine", "batched", model="usercode:Recurrent") == 0
    out, err = capsys.readouterr()
    assert "inplace engine" in out
    assert "'cell.' added" in out
    assert "Recurrent cannot run under vmap" in err


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("created",))


def fails(capsys, code, *parts, run, **kwargs):
    assert run(**kwargs) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert not Path("surface.npz").exists()
    return err


def test_hostile_checkpoint(probe, capsys):
    torch.save({"model": torch.load("model.pt")["model"], "x": Hostile()}, "evil.pt")
    err = fails(capsys, 1, "evil.pt", "mkdir", "--unsafe-load", run=probe, checkpoint="evil.pt")
    assert err.count("\n") == 1
    assert not Path("created").exists()
    torch.save({"model": torch.load("model.pt")["model"], "args": argparse.Namespace(lr=1)}, "own.pt")
    fails(capsys, 1, "argparse.Namespace", run=probe, checkpoint="own.pt")
    assert probe("--unsafe-load", checkpoint="own.pt") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--grid", "4"], 2, ["--grid", "odd", "got 4", "use 5"]),
        (["--grid", "many"], 2, ["whole number"]),
        (["--line", "2"], 2, ["--line", "use 3"]),
        (["--grid", "3", "--line", "3"], 2, ["not allowed"]),
        (["--span", "0"], 2, ["--span", "positive"]),
        (["--span", "wide"], 2, ["--span", "positive"]),
        (["--norm", "l2"], 2, ["filter"]),
        (["--loss", "usercode"], 2, ["--loss must look like package.module:name", "try usercode:name"]),
        (["--loss", "usercode.py:loss"], 2, ["try usercode:loss"]),
        (["--loss", "./usercode.py:loss"], 2, ["try usercode:loss"]),
        (["--loss", "no_such_module:loss"], 2, ["no module 'no_such_module'"]),
        (["--loss", "usercode.sub:loss"], 2, ["usercode"]),
        (["--loss", "usercode:los"], 2, ["usercode has no 'los'", "loss"]),
        (["--loss", "usercode:constant"], 2, ["is a int, but must be a function"]),
        (["--metric", "usercode:top1"], 2, ["--metric must look like name="]),
        (["--metric", "a=usercode:top1", "--metric", "a=usercode:top1"], 2, ["given twice"]),
        (["--metric", "loss=usercode:top1"], 2, ["taken by --loss"]),
        (["--model", "usercode:needs"], 2, ["without arguments", "'width'"]),
        (["--model", "usercode:nothing"], 1, ["must return a torch.nn.Module, it returned None"]),
        (["--model", "usercode:loss"], 2, ["without arguments"]),
        (["--data", "usercode:nothing"], 1, ["iterable of batches, it returned None"]),
        (["--data", "usercode:generator"], 1, ["only once"]),
        (["--data", "usercode:dataset"], 1, ["TensorDataset; return a DataLoader"]),
        (["--data", "usercode:one_batch"], 1, ["single batch"]),
        (["--data", "usercode:one_dict"], 1, ["single batch"]),
        (["--data", "usercode:no_batches"], 1, ["no batch"]),
        (["--data", "usercode:dicts"], 1, ["unexpected keyword argument", "--debug"]),
        (["--loss", "usercode:wrong"], 1, ["TypeError", "usercode.py, line", "--debug"]),
        (["--loss", "usercode:refused"], 1, ["usercode.py, line", "--debug"]),
        (["--loss", "usercode:item"], 1, ["error: --loss must return", "pair (sum, count), got float"]),
        (["--loss", "usercode:interrupted"], 130, ["interrupted"]),
        (["--device", "abacus"], 1, ["--device abacus"]),
        (["--out", "."], 1, ["is a folder"]),
        (["--out", "usercode.py/x.npz"], 1, ["cannot write", "--out"]),
        (["--out", "model.pt"], 1, ["exists already", "--overwrite"]),
        (["--key", "ema"], 1, ["no key 'ema'", "model"]),
        (["--prefix", "ema."], 1, ["'ema.'"]),
        (["--model", "usercode:WithLoss"], 1, ["does not fit WithLoss", "missing keys", "linear.weight"]),
    ],
)
def test_bad_arguments(probe, capsys, arguments, code, parts):
    fails(capsys, code, *parts, run=lambda: probe(*arguments))


@pytest.mark.parametrize("name", ["none.pt", "empty.pt", "cut.pt", "folder"])
def test_bad_checkpoints(probe, capsys, user, name):
    (user / "empty.pt").touch()
    (user / "cut.pt").write_bytes(Path("model.pt").read_bytes()[:500])
    (user / "folder").mkdir()
    assert fails(capsys, 1, name, run=probe, checkpoint=name).count("\n") == 1


def test_destination_is_checked_before_anything_else(user, capsys):
    arguments = ["--model", "usercode:nothing", "--data", "usercode:nothing", "--out", "usercode.py/x.npz"]
    assert main(["probe", "none.pt", *arguments]) == 1
    assert "cannot write usercode.py/x.npz" in capsys.readouterr().err


def test_a_result_that_cannot_be_saved_is_saved_elsewhere(probe, capsys, monkeypatch, tmp_path_factory):
    rescue = tmp_path_factory.mktemp("rescue")
    save = LossSurface.save

    def full(surface, path):
        if Path(path).name == path.name and rescue not in Path(path).parents:
            raise OSError(28, "No space left on device")
        save(surface, path)

    monkeypatch.setattr(LossSurface, "save", full)
    monkeypatch.setattr("tempfile.mkdtemp", lambda **kwargs: str(rescue))
    fails(capsys, 1, "No space left", str(rescue / "surface.npz"), run=probe)
    assert len(LossSurface.load(rescue / "surface.npz")) == 9


def test_debug_shows_the_traceback(probe, capsys):
    assert probe("--loss", "usercode:wrong", "--debug") == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "add --debug" not in err


def test_broken_import_in_the_users_module(probe, capsys, user):
    (user / "broken.py").write_text("import no_such_package\n")
    fails(capsys, 1, "ModuleNotFoundError", "no_such_package", "broken.py, line 1", run=probe, model="broken:model")


def test_nothing_of_the_process_is_changed(probe):
    before, stdout = list(sys.path), sys.stdout
    random = torch.get_rng_state()
    import logging

    level, handlers = logging.getLogger("lrscape").level, list(logging.getLogger("lrscape").handlers)
    assert probe("--json", "--loss", "usercode:wrong") == 1
    assert sys.path == before
    assert sys.stdout is stdout
    assert logging.getLogger("lrscape").level == level
    assert logging.getLogger("lrscape").handlers == handlers
    assert random.shape == torch.get_rng_state().shape


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="--device cuda cannot be used here"):
            choose_device("cuda")


def test_as_a_process(user):
    command = [sys.executable, "-m", "lrscape", "probe", "model.pt", "--model", "usercode:model", "--data"]
    done = subprocess.run(
        [*command, "usercode:data", "--grid", "3", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"] == 9
    assert "loaded model.pt" in done.stderr
    failed = subprocess.run([*command, "usercode:nothing", "--grid", "3"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lrscape {lrscape.__version__}\n"
    assert main(["--help"]) == 0
    assert "lrscape probe model.pt" in capsys.readouterr().out
    for command in ("probe", "plot"):
        assert main([command, "--help"]) == 0
        assert "examples:" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["paint"]) == 2
    assert "probe" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    code = "import sys; from lrscape.cli import main; main(['probe', '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
