"""The learning rate's history, out of files."""

import json

import pytest
import torch
from torch import nn

from lrscape.cli.histories import find_history, read_history
from lrscape.cli.nearby_history import history_of
from lrscape.schedulers import TopoLR


@pytest.fixture
def scheduler():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = TopoLR(optimizer, model, interval=1, warmup=1)
    x = torch.ones(3, 2)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        made.probe(lambda: model(x).square().mean())
        made.step()
    assert len(made.history) > 1
    return made


def told(decisions):
    return [(one.step, one.reason, one.rates, one.factors, one.measurement) for one in decisions]


def test_what_to_jsonl_wrote(scheduler, tmp_path):
    scheduler.history.to_jsonl(tmp_path / "run.jsonl")
    assert told(read_history(tmp_path / "run.jsonl")) == told(scheduler.history)


def test_null_is_nan(tmp_path):
    line = {"step": 3, "measurement": {"curvature": None}, "factors": [1.0], "reason": "non-finite", "rates": [0.1]}
    (tmp_path / "run.jsonl").write_text(json.dumps(line) + "\n")
    (found,) = read_history(tmp_path / "run.jsonl")
    assert found.measurement["curvature"] != found.measurement["curvature"]


@pytest.mark.parametrize("wrap", [lambda s: {"scheduler": s}, lambda s: {"a": [{"b": {"lr_schedulers": [s, {}]}}]}])
def test_in_a_checkpoint(scheduler, tmp_path, wrap):
    torch.save({"model": nn.Linear(2, 1).state_dict(), **wrap(scheduler.state_dict())}, tmp_path / "run.pt")
    assert told(find_history(str(tmp_path / "run.pt"), unsafe=False)) == told(scheduler.history)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"history": []},
        {"history": [1, 2]},
        {"history": [{"step": 1}]},
        {"history": 3},
        {"history": [{"step": 1, "measurement": {}, "factors": [1.0], "reason": "", "rates": []}]},
        {"history": [{"step": 1, "measurement": {}, "factors": [1.0], "reason": "", "rates": [10**400]}]},
    ],
)
def test_checkpoints_without_one(tmp_path, other):
    torch.save({"model": nn.Linear(2, 1).state_dict(), **other}, tmp_path / "run.pt")
    assert find_history(str(tmp_path / "run.pt"), unsafe=False) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "line 1"),
        (b"{\n", "line 1, is no decision"),
        (b'{"step": 1}\n', "line 1"),
        (b"[1]\n", "it is a list"),
        (b'{"step": 1, "measurement": {}, "factors": [1], "reason": "", "rates": []}\n', "without a rate"),
        (b'{"step": 1, "measurement": 3, "factors": [1], "reason": "", "rates": [1]}\n', "line 1"),
        (b"[" * 100_000, "line 1"),
    ],
)
def test_files_that_are_none(tmp_path, text, match):
    (tmp_path / "run.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=match) as error:
        read_history(tmp_path / "run.jsonl")
    assert "run.jsonl" in str(error.value)
    with pytest.raises(FileNotFoundError, match="there is no history"):
        read_history(tmp_path / "none.jsonl")


def test_lines_of_several_schedulers_are_refused(scheduler, tmp_path):
    lines = [decision.to_json(name=name) for decision in scheduler.history for name in ("a", "b")]
    (tmp_path / "run.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="of several schedulers, 'a', 'b'; keep the lines of one"):
        read_history(tmp_path / "run.jsonl")
    (tmp_path / "run.jsonl").write_text("\n".join(lines[::2]))
    assert told(read_history(tmp_path / "run.jsonl")) == told(scheduler.history)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "epoch3.pt"
    torch.save(nn.Linear(2, 1).state_dict(), path)
    return path


def test_the_only_file_with_decisions_in_the_folder(scheduler, checkpoint):
    assert history_of(str(checkpoint), unsafe=False) is None
    folder = checkpoint.parent
    (folder / "data.jsonl").write_text('{"text": "not a decision"}\n')
    (folder / "long.jsonl").write_bytes(b"[" * 100_000)
    (folder / "folder.jsonl").mkdir()
    scheduler.history.to_jsonl(folder / "decisions.jsonl")
    found = history_of(str(checkpoint), unsafe=False)
    assert (told(found.decisions), found.source) == (told(scheduler.history), str(folder / "decisions.jsonl"))
    assert history_of(str(checkpoint), unsafe=False, shared=False) is None
    scheduler.history.to_jsonl(folder / "more.jsonl")
    with pytest.raises(ValueError, match=r"decisions\.jsonl, .*more\.jsonl; choose one with --history"):
        history_of(str(checkpoint), unsafe=False)
    scheduler.history.to_jsonl(folder / "epoch3.jsonl")
    for shared in (True, False):
        assert history_of(str(checkpoint), unsafe=False, shared=shared).source == str(folder / "epoch3.jsonl")


def test_a_file_of_the_same_run_completes_the_checkpoints_own_history(scheduler, checkpoint):
    state = scheduler.state_dict()
    every = list(scheduler.history)
    torch.save({"model": nn.Linear(2, 1).state_dict(), "s": {"history": state["history"][1:3]}}, checkpoint)
    found = history_of(str(checkpoint), unsafe=False)
    assert (told(found.decisions), found.source) == (told(every[1:3]), "the scheduler's state in the checkpoint")
    file = checkpoint.parent / "run.jsonl"
    scheduler.history.to_jsonl(file)
    found = history_of(str(checkpoint), unsafe=False)
    assert (told(found.decisions), found.source) == (
        told(every[:3]),
        str(file),
    )  # up to its end
    text = file.read_text()
    for other in (text[: text.rindex("reason")], text.replace('"rates": [', '"rates": [1')):  # cut off; another run
        file.write_text(other)
        assert history_of(str(checkpoint), unsafe=False).source == "the scheduler's state in the checkpoint"
