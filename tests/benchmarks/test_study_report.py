"""The whole of it on a tiny budget: processes, lines, tables, figures."""

import json
import re

import pytest

from lrscape.benchmarks.study.__main__ import main
from lrscape.benchmarks.study.arms import missing
from lrscape.benchmarks.study.plan import Study
from lrscape.benchmarks.study.records import Records
from lrscape.benchmarks.study.report import write
from lrscape.benchmarks.study.tables import targets
from lrscape.benchmarks.study.workloads import BUNDLED

ARMS = [name for name in ("cosine", "valley", "constant", "constant-average", "prodigy") if name not in missing()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    common = ["--quick", "--workloads", "tabular", "--jobs", "1", "--out", str(out)]
    assert main([*common, "--arms", *ARMS]) == 0
    return out


def test_every_run_is_a_line_with_its_configuration(folder):
    lines = [json.loads(line) for line in (folder / "tabular.jsonl").read_text().splitlines()]
    keys = [(line["kind"], line["rate"], line["seed"], line["horizon"], line["batch"], line["steps"]) for line in lines]
    assert len(set(keys)) == len(keys) > 30
    assert all(line["finished"] and line["threads"] == 1 and "torch" in line["versions"] for line in lines)


def test_nothing_is_run_twice(folder, capsys):
    before = (folder / "tabular.jsonl").read_bytes()
    assert main(["plan", "--quick", "--workloads", "tabular", "--arms", *ARMS, "--out", str(folder)]) == 0
    assert "in all 0 runs" in capsys.readouterr().out
    assert main(["--quick", "--workloads", "tabular", "--arms", *ARMS, "--out", str(folder), "--minutes", "0"]) == 0
    assert (folder / "tabular.jsonl").read_bytes() == before


def test_the_report_says_what_the_lines_say(folder):
    text = (folder / "report.md").read_text()
    assert "All runs are there." in text
    assert (folder / "losses.svg").stat().st_size > 1000
    assert (folder / "sensitivity.svg").stat().st_size > 1000
    lines = [json.loads(line) for line in (folder / "tabular.jsonl").read_text().splitlines()]
    valley = sorted(
        line["reads"]["12"]["average"]["test"]["loss"]
        for line in lines
        if line["kind"] == "valley" and line["batch"] == 64
    )
    assert len(valley) == 2
    shown = re.search(r"\| ValleyLR \| \**([\d.]+) \(([\d.]+)–([\d.]+)\)", text)
    median, low, high = map(float, shown.groups())
    assert (low, high) == pytest.approx(valley, abs=6e-4)
    assert median == pytest.approx(sum(valley) / 2, abs=6e-4)
    for title in (
        "ValleyLR against cosine",
        "All arms",
        "Wrong learning rates",
        "Other speeds",
        "Other batch sizes",
        "What it cost",
    ):
        assert f"## {title}" in text


def test_targets_are_judged_by_their_numbers(folder):
    runs = Records(folder)
    study = Study(
        {"tabular": BUNDLED["tabular"]}, ARMS, runs, seeds=(0, 1), tuning_seeds=(1000,), extend=False, most=12
    )
    for record in runs.runs.values():
        for read in record["reads"].values():
            for weights in ("raw", "average"):
                if weights in read:
                    read[weights]["test"]["loss"] = 1.03 if record["kind"] == "valley" else 1.0
    text = targets(study, "valley", "cosine")
    assert "| median ratio ≤ 1.02 everywhere | 0 of 3 | missed |" in text
    assert "| median ratio < 1 on at least half | 0 of 3 | missed |" in text
    assert "| no seed beyond 1.05 | worst 1.030 (tabular, 25 %) | met |" in text
    assert write(study, folder / "again")[0].read_text().count("1.030") >= 6


def test_an_unknown_workload_says_which_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--workloads", "imagenet"])
    assert "--workloads knows digits" in capsys.readouterr().err
