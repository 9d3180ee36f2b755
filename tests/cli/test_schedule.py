"""``lrscape schedule``: schedules beside each other, with what theory promises of them."""

import json
from pathlib import Path

import pytest

from lrscape.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def result(capsys, *arguments):
    assert main(["schedule", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_chapters_figures(capsys):
    found = result(capsys, "constant", "--steps", "100", "--lr", "0.1")
    (constant,) = found["schedules"]
    assert constant["bound"] == pytest.approx(10.1)
    assert (constant["sum"], constant["sum_of_squares"]) == (pytest.approx(10), pytest.approx(1))
    assert found["best_constant"] == {"lr": pytest.approx(1.0), "bound": pytest.approx(2.0)}
    assert found["min_warmup"] == 1


def test_every_kind_and_shape(capsys):
    names = ["constant", "warmup", "cosine", "wsd", "wsd-s", "stages", "wsd:sqrt", "wsd-s:linear", "stages:inverse"]
    options = ["--steps", "60", "--lr", "0.5", "--warmup", "5", "--decay", "6", "--stages", "3", "--restart", "0.5"]
    found = result(capsys, *names, *options)
    by = {one["schedule"]: one for one in found["schedules"]}
    assert list(by) == names
    assert all(one["first"] == pytest.approx(0.1) for one in by.values())
    assert all(one["bound"] >= found["best_constant"]["bound"] for one in by.values())
    assert by["constant"]["last"] == 0.5
    assert by["wsd"]["last"] == pytest.approx(0.5 / 6)
    assert by["wsd-s:linear"]["sum"] < by["wsd"]["sum"]
    assert by["wsd-s"]["last"] > 0.05  # a floor of a tenth
    assert by["stages"]["last"] < 0.125 * 0.05
    lowered = result(capsys, "cosine", *options, "--floor", "0.2")["schedules"][0]
    assert lowered["last"] > 0.1


def test_a_table_for_people(capsys):
    assert main(["schedule", "--steps", "50", "--smoothness", "300"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["schedule", "first", "highest", "last", "sum", "sum", "of", "squares", "bound"]
    assert [line.split()[0] for line in out[1:6]] == ["constant", "cosine", "wsd", "wsd-s", "stages"]
    assert out[7].endswith("16 steps, for a stable first one at this curvature")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure(capsys, suffix):
    path = Path(f"schedules.{suffix}")
    found = result(capsys, "cosine", "wsd", "--steps", "40", "--warmup", "4", "-o", str(path), "--dpi", "60")
    assert found["figure"] == str(path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["triangle"], "must be one of constant, warmup, cosine"),
        (["cosine:sqrt"], "only wsd, wsd-s, stages take a shape"),
        (["wsd:cube"], "one of linear, cosine, sqrt, inverse"),
        (["wsd", "--steps", "10", "--decay", "11"], "leave no such schedule: stage 1 ends at step 10"),
        (["cosine", "--warmup", "-1"], "--warmup"),
        (["cosine", "--floor", "2"], "must be a number from 0 to 1"),
        (["wsd:inverse", "--floor", "0"], "floor must be above 0"),
        (["cosine", "-o", "figure.txt"], "--out must end in"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    assert main(["schedule", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())
