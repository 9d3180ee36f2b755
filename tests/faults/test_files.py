"""Files from strangers are loaded or refused by name: no crash, no code, no memory beyond bounds."""

import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import bomb
from torch import nn

from lrscape.landscape import LossSurface, grid, load_checkpoint, read_checkpoint
from lrscape.landscape.checkpoint_storages import check_extents
from lrscape.schedulers import Decision, History, TopoLR

SUPPORT = Path(__file__).parent.parent / "support"
KINDS = [
    "archive", "legacy", "plain_pickle", "safetensors", "sharded", "distributed", "shards_of_ranks", "surface",
    "partial_scan", "directions", "history",
]  # fmt: skip
ROOM = 512  # MiB that reading one file may take: torch's own start is part of it


def fuzzed(folder, cases, seed, *kinds):
    command = [sys.executable, str(SUPPORT / "fuzzed_files.py"), str(folder), str(cases), str(seed), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, f"ended with {done.returncode} on a file in {folder}: {done.stderr[-3000:]}"
    return json.loads(done.stdout)


def check(found, cases):
    for kind, told in found.items():
        assert told["wrong"] == [], kind
        assert told["loaded"] + told["refused"] == cases, kind
        assert told["refused"] > cases / 3, kind  # most damage is noticed
        assert told["grew_mib"] < ROOM, kind


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits on memory need Linux")
def test_damaged_files_are_refused_by_name(tmp_path):
    found = fuzzed(tmp_path, 30, 0)
    assert sorted(found) == sorted(KINDS)
    check(found, 30)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits on memory need Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_more_than_ten_thousand_damaged_files(kind, tmp_path):
    check(fuzzed(tmp_path, 1000, 1, kind), 1000)


@given(
    losses=st.lists(st.floats(), min_size=1, max_size=20),
    names=st.sets(st.text(min_size=1, max_size=8), max_size=3),
    provenance=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())),
)
def test_whatever_a_surface_holds_comes_back(tmp_path_factory, losses, names, provenance):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    n = len(losses)
    metrics = {name: np.array(losses) for name in names if "\0" not in name and "/" not in name and name.isprintable()}
    made = LossSurface(np.zeros((n, 1)), np.array(losses), (n,), metrics, None, provenance)
    made.save(path)
    found = LossSurface.load(path)
    assert np.array_equal(found.losses, made.losses, equal_nan=True)
    assert set(found.metrics) == set(metrics)
    assert dict(found.provenance) == provenance


@given(st.binary(max_size=200))
def test_no_bytes_are_a_surface_or_a_history_by_accident(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"any\.bin is not a loss surface"):
        LossSurface.load(path)
    if content.strip():
        with pytest.raises(ValueError, match=r"any\.bin, line \d+, is no decision"):
            History.from_jsonl(path)


number = st.floats()
DECISIONS = st.builds(
    Decision, st.integers(0, 10**9), st.dictionaries(st.text(), number), st.lists(number), st.text(), st.lists(number)
)


@settings(max_examples=50)
@given(st.lists(DECISIONS, max_size=5))
def test_a_history_comes_back_from_its_lines(tmp_path_factory, decisions):
    path, made = tmp_path_factory.getbasetemp() / "history.jsonl", History(10)
    for decision in decisions:
        made.append(decision)
    made.to_jsonl(path)
    found = History.from_jsonl(path)
    finite = [repr(d).replace("-inf", "nan").replace("inf", "nan") for d in decisions]  # JSON has no infinity
    if not any("inf" in repr((d.reason, list(d.measurement))) for d in decisions):
        assert [repr(d) for d in found] == finite


def test_a_bomb_is_refused_before_it_unfolds(tmp_path):
    points = grid(3)
    LossSurface(points.coordinates, np.ones(9), points.shape).save(tmp_path / "bomb.npz")
    content = bomb((tmp_path / "bomb.npz").read_bytes(), 2**29)
    assert len(content) < 2**20
    (tmp_path / "bomb.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb\.npz is not a loss surface .*512 MiB.*made to fill the memory"):
        LossSurface.load(tmp_path / "bomb.npz")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "bomb.pt")
    (tmp_path / "bomb.pt").write_bytes(bomb((tmp_path / "bomb.pt").read_bytes(), 2**29))
    with pytest.raises(ValueError, match=r"bomb\.pt cannot be read .*made to fill the memory"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_a_surface_of_equal_losses_is_no_bomb(tmp_path):
    points = grid(401)
    made = LossSurface(points.coordinates, np.ones(401**2), points.shape, {"accuracy": np.zeros(401**2)})
    made.save(tmp_path / "flat.npz")
    assert LossSurface.load(tmp_path / "flat.npz").shape == (401, 401)


def rewritten(path, name, change):
    made = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w") as other:
        for info in archive.infolist():
            content = archive.read(info)
            other.writestr(info.filename, change(content) if info.filename.endswith(name) else content)
    path.write_bytes(made.getvalue())


def test_a_checkpoint_that_claims_more_numbers_than_it_holds(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(100)}, path)
    claim, lie = pickle.dumps(100, protocol=2)[2:-1], pickle.dumps(10_000_000, protocol=2)[2:-1]
    rewritten(path, "data.pkl", lambda content: content.replace(claim, lie))
    with pytest.raises(ValueError, match=r"model\.pt cannot be read .*does not match expected size"):
        read_checkpoint(path)


class Beyond:
    """A quantised tensor whose stride leads out of its storage, which torch before 2.13 does not notice."""

    def __reduce__(self):
        storage = torch.quantize_per_tensor(torch.ones(8), 0.1, 0, torch.qint8).storage()
        scheme = (torch.per_tensor_affine, 0.1, 0)
        return torch._utils._rebuild_qtensor, (storage, 0, (2, 2), (10**9, 1), scheme, False, OrderedDict())


def test_tensors_that_reach_beyond_their_data(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that quantised storages are deprecated
        torch.save({"weight": Beyond()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt cannot be read .*(reaches beyond its data|out of bounds)"):
        read_checkpoint(tmp_path / "model.pt")
    inside = torch.arange(12.0).reshape(3, 4)[1:, ::2].T
    check_extents([{"a": inside, "b": (inside[:0], torch.tensor(1.0))}])
    beyond = torch.ones(2, 4)
    beyond.untyped_storage().resize_(28)
    with pytest.raises(ValueError, match=r"shape \(2, 4\) reaches beyond"):
        check_extents({"a": [beyond]})
    check_extents({"a": beyond[:1]})


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt is neither a file nor a folder"):
        load_checkpoint(nn.Linear(2, 2), tmp_path / "model.pt")


def test_a_state_replaces_numbers_and_nothing_else():
    model = nn.Linear(2, 2)
    scheduler = TopoLR(torch.optim.SGD(model.parameters(), lr=0.1), model)
    good = scheduler.state_dict()
    for name in ("measure", "model", "optimizer", "_rates", "load_state_dict"):
        with pytest.raises(ValueError, match=f"it would replace {name}"):
            scheduler.load_state_dict({**good, name: 3})
    for broken in ({}, {"rates": {}}, {**good, "rates": {"plain": [1.0]}}):
        with pytest.raises((ValueError, KeyError)):
            scheduler.load_state_dict(broken)
    assert str(scheduler.state_dict()) == str(good)
