"""Table 1 of the paper on files of the real format with noise for images: every arm, once, and never twice."""

import json
import math
import re
from dataclasses import replace
from statistics import mean, stdev

import pytest
import torch
import torch.nn.functional as F
from cifar_files import write_cifar
from torch import nn

from lrscape.benchmarks.study.__main__ import main
from lrscape.benchmarks.study.records import Records, configuration
from lrscape.benchmarks.study.table_one.epochs import train
from lrscape.benchmarks.study.table_one.protocol import ARMS, Source
from lrscape.benchmarks.study.table_one.readings import difference
from lrscape.benchmarks.study.table_one.report import write

CLASSES = (10, 100)


def call(data, out, seeds, *more):
    options = ["--epochs", "1", "--seeds", str(seeds), "--jobs", "1", *more]
    return main(["cifar", "--data-dir", str(data), "--out", str(out), *options])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for classes in CLASSES:
        write_cifar(folder, classes, 8)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert call(data, out, seeds=2) == 0
    return out


def trained(source, arm, batch=16, epochs=4, model=None, **changes):
    """Train in this process, on batches of our own size."""
    table = source.table(10, epochs, 1, [arm])
    batches = -(-table.images // batch)
    share = ARMS[arm].epochs(epochs) / epochs
    wanted = replace(table.configuration(arm, 0), batch=batch, steps=epochs * batches, horizon=share, **changes)
    workload = source.workload(10)
    workload = workload if model is None else replace(workload, model=model)
    return {**train(wanted, workload, batches), "device": "cpu"}


def small():
    return nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )


@pytest.mark.parametrize("classes", CLASSES)
def test_every_arm_runs_once_for_each_seed(finished, classes):
    after = (finished / f"cifar{classes}.jsonl").read_bytes()
    runs = [(run["kind"], run["seed"]) for run in map(json.loads, after.splitlines())]
    assert runs == [(arm, seed) for seed in (0, 1) for arm in ARMS]


def test_a_second_call_runs_nothing_and_writes_the_same_table(data, finished, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert set(before) == {"cifar10.jsonl", "cifar100.jsonl", "table_one.md", "table_one.svg"}
    assert call(data, finished, seeds=2) == 0
    assert "0 of 28 runs to do" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_what_is_missing_is_run_and_nothing_else(data, finished, tmp_path, capsys):
    for classes in CLASSES:
        lines = (finished / f"cifar{classes}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / f"cifar{classes}.jsonl").write_text("".join(lines[:5]))
    assert call(data, tmp_path, 2, "--arms", "constant", "cosine", "topocnn", "--minutes", "0") == 0
    assert "8 of 12 runs to do" in capsys.readouterr().out
    assert "8 of 12 runs are still missing" in (tmp_path / "table_one.md").read_text()


def test_the_table_says_what_the_lines_say_beside_what_was_published(finished):
    text = (finished / "table_one.md").read_text()
    assert "All runs are there." in text
    assert "A trial" not in text
    assert text.count("The published figures are after") == 2  # 50 epochs, and 100
    runs = [json.loads(line) for line in (finished / "cifar10.jsonl").read_text().splitlines()]
    ours = [run["curves"] for run in runs if run["kind"] == "topo-published"]
    cells = re.search(r"\| TopoLR, published \| 1 \| (.*) \|", text).group(1).split(" | ")
    for cell, name, scale in ((cells[0], "accuracy", 100), (cells[1], "loss", 1)):
        values = [scale * curves[name][-1] for curves in ours]
        middle, spread = map(float, cell.split(" ± "))
        assert (middle, spread) == pytest.approx((mean(values), stdev(values)), abs=6e-3 if scale == 100 else 6e-5)
    assert cells[4:] == ["86.19", "0.4523", "85.95 ± 0.15", "0.4486", "≈ 14 %"]
    assert "| AdamW, cosine | 1 |" in text
    assert "| 86.04 ± 0.43 | 0.4371 |" in text
    assert "| 58.72 | 1.8520 |" in text
    for head in ("accuracy, %", "loss", "scheduler", "step", "*published, one run:* accuracy", "p (Holm)"):
        assert f"| {head} |" in text


def test_missing_files_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        call(tmp_path, tmp_path / "out", seeds=1)
    told = capsys.readouterr().err
    for name in ("data_batch_1", "data_batch_5", "test_batch (CIFAR-10)", "train, test (CIFAR-100)"):
        assert name in told
    write_cifar(tmp_path, 10, 2)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(SystemExit, match="2"):
        call(tmp_path, tmp_path / "out", seeds=1)
    told = capsys.readouterr().err
    assert "CIFAR-10 lacks data_batch_3 in" in told
    assert "CIFAR-100" not in told
    assert not (tmp_path / "out").exists()


def test_one_data_set_is_enough_and_a_device_that_is_not_there_is_refused(tmp_path, capsys):
    write_cifar(tmp_path, 100, 2)
    folder = str(tmp_path / "cifar-100-python")
    assert main(["cifar", "--data-dir", folder, "--out", str(tmp_path / "out"), "--minutes", "0"]) == 0
    assert "CIFAR-100: 35 of 35 runs to do" in capsys.readouterr().out
    assert "35 of 35 runs are still missing" in (tmp_path / "out" / "table_one.md").read_text()
    with pytest.raises(SystemExit, match="2"):
        main(["cifar", "--data-dir", folder, "--device", "abacus"])
    assert "--device abacus cannot be used" in capsys.readouterr().err


def test_all_images_are_trained_on_once_an_epoch_and_a_limit_takes_the_first(data):
    workload = Source(data).workload(10)
    seen = workload.data(0)
    stream = seen.batches(16, torch.Generator().manual_seed(0))
    epoch = [next(stream) for _ in range(3)]
    assert [len(x) for x, _ in epoch] == [16, 16, 8]
    every = torch.cat([y for _, y in epoch]).bincount(minlength=10)
    again = torch.cat([next(stream)[1] for _ in range(3)]).bincount(minlength=10)
    assert torch.equal(every, again)
    assert seen.validation == []
    limited = Source(data, limit=3)
    assert limited.workload(10).name == "cifar10-first-3"
    assert torch.equal(limited.workload(10).data(0).test[0][1], seen.test[0][1][:3])
    assert limited.table(10, None, 1, ARMS).images == 3
    assert Source(data).table(10, None, 1, ARMS).images == 40


def test_rates_are_those_of_torch(data):
    """At 1e-3 for ten classes: kept; half a cosine stepped by the epoch; divided by ten in 4 · 7/6 → 5 epochs."""
    rates = {arm: trained(Source(data), arm, model=small)["curves"]["rate"] for arm in ("constant", "cosine", "step")}
    assert rates["constant"] == [1e-3] * 4
    assert rates["step"] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4, 1e-5])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    expected = []
    for _ in range(4):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates["cosine"] == pytest.approx(expected, rel=1e-6)
    assert rates["cosine"] == pytest.approx([5e-4 * (1 + math.cos(math.pi * t / 4)) for t in range(4)], rel=1e-6)


def test_constant_is_a_plain_loop(data):
    record = trained(Source(data), "constant", epochs=2)
    workload = Source(data).workload(10)
    parts = workload.data(0)
    torch.manual_seed(0)
    model = workload.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4)
    stream = parts.batches(16, torch.Generator().manual_seed(0))
    for _ in range(6):
        x, y = next(stream)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        expected = float(F.cross_entropy(model(parts.test[0][0]), parts.test[0][1]))
    assert record["curves"]["loss"][-1] == pytest.approx(expected, rel=1e-6)
    assert record["parameters"] == 1_147_914


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.startswith("topo")])
def test_schedulers_probe_after_200_steps(data, arm):
    record = trained(Source(data, limit=40), arm, batch=1, epochs=5, model=small)
    assert record["steps_done"] == 200
    assert sum(record["decisions"].values()) == 1
    assert 0 < record["arm_cpu"] < record["cpu"]
    json.dumps(record, allow_nan=False)


def test_a_run_that_diverges_ends_and_is_told(data, tmp_path):
    table = Source(data).table(10, 4, 1, ["constant"])
    record = trained(Source(data), "constant", rate=1e30)
    assert record["diverged"]
    assert len(record["curves"]["loss"]) < 4
    assert record["curves"]["loss"][-1] is None
    records = Records(tmp_path)
    records.add(record)
    told = configuration(record)
    records.runs = {table.configuration("constant", 0): records.runs[told]}
    text = write([table], records, tmp_path, limit=3)[0].read_text()
    assert "| diverged (1 of 1) |" in text
    assert "**A trial: only the first 3 training and test images were used. It is no result.**" in text


def test_differences_are_paired_by_seed(data):
    """A t-test by hand: seed 2 has no partner, and the mean difference of the others is 2 points."""
    table = Source(data).table(10, 1, 3, ["constant", "cosine"])
    made = {
        ("constant", 0): 0.50,
        ("constant", 1): 0.60,
        ("constant", 2): 0.1,
        ("cosine", 0): 0.51,
        ("cosine", 1): 0.63,
    }
    runs = {table.configuration(*run): {"curves": {"accuracy": [value]}} for run, value in made.items()}
    found = difference(table, "cosine", "constant", runs)
    assert (found.n, found.mean) == (2, pytest.approx(2.0))
    t = 2.0 / (math.sqrt(2) / math.sqrt(2))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(t))  # of Student's t with one degree of freedom
    assert (found.low + found.high) / 2 == pytest.approx(2.0)
