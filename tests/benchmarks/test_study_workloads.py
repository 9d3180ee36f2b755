"""Data in three parts, and files that are read without trust."""

import os
import pickle

import pytest
import torch
from cifar_files import write_cifar

from lrscape.benchmarks.study.workloads import BUNDLED, TASKS, workloads
from lrscape.benchmarks.study.workloads.cifar import augment, cifar_net
from lrscape.benchmarks.study.workloads.pickles import read

EVERY = BUNDLED | TASKS
IMAGES = [name for name in EVERY if name != "transformer"]


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_has_a_loss_and_the_seed_decides_the_order(name):
    workload = EVERY[name]
    data = workload.data(0)
    streams = [data.batches(8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    (first, _), (same, _), (other, _) = (next(stream) for stream in streams)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    model = workload.model()
    x, y = next(streams[0])
    assert workload.loss(model(x), y).isfinite()
    assert 0 <= float(workload.accuracy(model(x), y)) <= 1
    assert {len(batch) for batch in (*data.validation, *data.test)} == {2}


@pytest.mark.parametrize("name", IMAGES)
def test_no_example_is_in_two_parts(name):
    data = EVERY[name].data(3)
    held_out = {part: torch.cat([x.flatten(1) for x, _ in getattr(data, part)]) for part in ("validation", "test")}
    stream = data.batches(100, torch.Generator().manual_seed(0))
    training = torch.cat([next(stream)[0].flatten(1) for _ in range(10)]).unique(dim=0)
    assert len(training) > 600
    for part, other in (("validation", training), ("test", training), ("validation", held_out["test"])):
        seen = {tuple(row) for row in other.tolist()}
        twins = sum(tuple(row) in seen for row in held_out[part].tolist())
        assert twins <= 2, (name, part)  # iris has a pair of equal flowers


@pytest.mark.parametrize("name", EVERY)
def test_all_seeds_are_tested_on_the_same_data(name):
    first, second = (EVERY[name].data(seed).test for seed in (0, 1000))
    if name != "tabular":  # whose inputs are standardised by the training part
        assert all(torch.equal(x, other) for (x, _), (other, _) in zip(first, second, strict=True))
    for (_, y), (_, other) in zip(first, second, strict=True):
        assert torch.equal(y[..., 0] if name == "tabular" else y, other[..., 0] if name == "tabular" else other)


def test_groups_are_wrong_in_training_only():
    data = TASKS["tasks-noise"].data(0)
    _, y = next(data.batches(898, torch.Generator().manual_seed(0)))
    share = (y[:, 0] % 5 == y[:, 1]).double().mean()
    assert share == pytest.approx(0.4 + 0.6 / 5, abs=3 * (0.52 * 0.48 / 898) ** 0.5)
    assert all((held[:, 0] % 5 == held[:, 1]).all() for _, held in (*data.validation, *data.test))
    _, other = next(TASKS["tasks-noise"].data(1).batches(898, torch.Generator().manual_seed(0)))
    assert torch.equal(y[:, 0], other[:, 0])
    assert not torch.equal(y[:, 1], other[:, 1])


def test_an_epoch_sees_every_example_once():
    data = BUNDLED["digits"].data(0)
    stream = data.batches(449, torch.Generator().manual_seed(0))
    x = torch.cat([next(stream)[0], next(stream)[0]]).flatten(1)
    assert len(x.unique(dim=0)) == len(x) == 898


def test_only_training_labels_are_wrong():
    clean, noisy = BUNDLED["digits"].data(0), BUNDLED["digits-noise"].data(0)
    for part in ("validation", "test"):
        assert torch.equal(getattr(clean, part)[0][1], getattr(noisy, part)[0][1])
    (_, right), (_, wrong) = (next(data.batches(898, torch.Generator().manual_seed(0))) for data in (clean, noisy))
    assert 0.15 < float((right != wrong).float().mean()) < 0.25


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_found_read_and_cut(tmp_path, classes):
    workload = workloads(write_cifar(tmp_path, classes))[f"cifar{classes}"]
    data = workload.data(0)
    total = 200 if classes == 10 else 40
    assert len(data.validation[0][0]) == total // 10
    assert len(data.test[0][0]) == 40
    x, y = next(data.batches(8, torch.Generator().manual_seed(0)))
    assert x.shape == (8, 3, 32, 32)
    assert workload.model()(x).shape == (8, classes)
    assert 0 <= int(y.min()) <= int(y.max()) < classes


def test_cifar_net_has_the_published_size():
    assert sum(parameter.numel() for parameter in cifar_net(10).parameters()) == 1_147_914


def test_augmentation_moves_and_flips_only():
    x = torch.arange(2 * 3 * 32 * 32, dtype=torch.float32).reshape(2, 3, 32, 32) + 1
    seen = torch.stack([augment(x, torch.Generator().manual_seed(seed)) for seed in range(40)])
    assert seen.shape == (40, 2, 3, 32, 32)
    rows = seen[:, 0, 0, 16]  # a row of the middle keeps its numbers, padding apart, in order or reversed
    differences = rows.diff()[(rows[:, 1:] > 0) & (rows[:, :-1] > 0)]
    assert set(differences.tolist()) == {1.0, -1.0}
    assert (seen == 0).any()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_a_harmful_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": Harmful()}))
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.mkdir"):
        read(tmp_path / "test_batch")
    assert not (tmp_path / "was-run").exists()


def test_what_is_no_dictionary_is_refused(tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps([1]))
    with pytest.raises(TypeError, match="a list, not a dictionary"):
        read(tmp_path / "test_batch")


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="unpack their Python versions"):
        workloads(tmp_path)
