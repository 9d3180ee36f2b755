"""Decisions reach loggers of every kind, and files hold each once."""

import copy
import json

import pytest
import torch
from plain_loop import SCHEDULERS, Plain, batches

from lrscape.integrations import record, scalars
from lrscape.optim import TopoAdamW
from lrscape.schedulers import Decision, RiverLR

LOSSES = torch.tensor([1.0, 3.0])


def river():
    return RiverLR(torch.optim.SGD([torch.zeros(1)], lr=0.1))


def observed(scheduler, number):
    for _ in range(number):
        scheduler.optimizer.step()
        scheduler.observe(LOSSES)
    return scheduler


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Calls(list):
    """Remembers calls; with the signatures of the loggers that it stands for."""

    def log(self, data, step=None, commit=None):  # W&B
        self.append((step, data))

    def log_metrics(self, metrics, prefix=None, step=None):  # Comet; MLflow and Lightning have no prefix
        assert prefix is None
        self.append((step, metrics))


class OnlyLog:
    def __init__(self):
        self.calls = Calls()
        self.log = self.calls.log


def test_scalars_name_groups_and_skip_nothing():
    decision = Decision(7, {"sharpness": 0.5, "groups": (1.0, 2.0)}, [0.5, 1.0], "very sharp", [0.1, 0.2])
    assert scalars(decision, "own") == {
        "own/rate/0": 0.1, "own/rate/1": 0.2, "own/factor/0": 0.5, "own/factor/1": 1.0, "own/measured/sharpness": 0.5,
        "own/measured/groups/0": 1.0, "own/measured/groups/1": 2.0, "own/reason/very_sharp": 1.0,
    }  # fmt: skip


def test_functions_and_objects_get_every_decision_from_now_on():
    scheduler = observed(river(), 2)
    seen, metrics, plain = [], Calls(), OnlyLog()
    ends = [record(scheduler, sink) for sink in (lambda values, step: seen.append((step, values)), metrics, plain)]
    observed(scheduler, 3)
    assert [step for step, _ in seen] == [3, 4, 5]
    assert seen == metrics == plain.calls
    assert seen[-1][1] == scalars(scheduler.history[-1])
    for end in ends:
        end()
        end()
    observed(scheduler, 1)
    assert len(seen) == 3


def test_state_that_comes_back_and_copies_are_not_written():
    source = observed(river(), 4)
    target, seen = river(), []
    record(target, lambda values, step: seen.append(step))
    target.load_state_dict(source.state_dict())
    observed(copy.deepcopy(target), 2)
    assert seen == []
    observed(target, 1)
    assert seen == [5]


def test_optimizers_that_steer_themselves():
    model = torch.nn.Linear(2, 1)
    optimizer = TopoAdamW(model.parameters(), model, lr=1e-3, interval=1, warmup_steps=0)
    seen = []
    record(optimizer, lambda values, step: seen.append(step))
    loss = lambda: model(torch.ones(3, 2)).square().mean()  # noqa: E731
    loss().backward()
    optimizer.step()
    optimizer.probe(loss)
    assert seen == [1]


def test_file_holds_what_the_history_holds(tmp_path):
    scheduler = river()
    end = record(scheduler, tmp_path / "run.jsonl", "own")
    observed(scheduler, 5)
    end()
    scheduler.history.to_jsonl(tmp_path / "whole.jsonl")
    assert lines(tmp_path / "run.jsonl") == [{"name": "own", **entry} for entry in lines(tmp_path / "whole.jsonl")]


@pytest.mark.parametrize("saved", [0, 3, 6])
@pytest.mark.parametrize("torn", [b"", b'{"name": "lrsc', b'{"name": "lrscape", "step": 7}'])
def test_resumed_file_is_that_of_an_uninterrupted_run(tmp_path, saved, torn):
    whole, killed, path = river(), river(), tmp_path / "run.jsonl"
    record(whole, tmp_path / "whole.jsonl")
    observed(whole, 9)
    record(killed, path)
    state = observed(killed, saved).state_dict()
    optimizer_steps = 6 - saved
    observed(killed, optimizer_steps)
    with path.open("ab") as file:
        file.write(torn)
    resumed = river()
    record(resumed, path)  # before the state comes back, as frameworks do it
    resumed.load_state_dict(state)
    observed(resumed, 9 - saved)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_going_back_within_a_run(tmp_path):
    scheduler, path = river(), tmp_path / "run.jsonl"
    record(scheduler, path)
    state = observed(scheduler, 2).state_dict()
    observed(scheduler, 3)
    scheduler.load_state_dict(state)
    observed(scheduler, 1)
    assert [entry["step"] for entry in lines(path)] == [1, 2, 3]


def test_a_run_that_starts_anew_starts_its_lines_anew_and_leaves_others(tmp_path):
    path = tmp_path / "run.jsonl"
    for name, number in (("first", 3), ("second", 2), ("first", 1)):
        scheduler = river()
        record(scheduler, path, name)
        observed(scheduler, number)
    assert [(entry["name"], entry["step"]) for entry in lines(path)] == [("second", 1), ("second", 2), ("first", 1)]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    scheduler = river()
    record(scheduler, tmp_path / "run.jsonl")
    with pytest.warns(RuntimeWarning, match="not finite"):
        scheduler.observe(torch.tensor([float("nan"), 1.0]))
    assert lines(tmp_path / "run.jsonl")[0]["measurement"] == {"mean": None, "variance": None}


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    scheduler = river()
    record(scheduler, path)
    with pytest.raises(ValueError, match="something else than decisions"):
        observed(scheduler, 1)
    assert path.read_text() == "dear diary\n"


def test_figures(tmp_path):
    from matplotlib import pyplot as plt

    class Board:
        def __init__(self):
            self.figures, self.scalars, self.texts = [], [], []

        def add_scalar(self, tag, scalar_value, global_step=None):
            self.scalars.append((tag, scalar_value, global_step))

        def add_text(self, tag, text_string, global_step=None):
            self.texts.append((tag, text_string, global_step))

        def add_figure(self, tag, figure, global_step=None):
            self.figures.append((tag, len(figure.axes), global_step))

    board, scheduler = Board(), river()
    end = record(scheduler, board, figure_every=2)
    observed(scheduler, 5)
    end()
    end()
    assert board.figures == [("lrscape/trace", 2, 2), ("lrscape/trace", 2, 4), ("lrscape/trace", 2, 5)]
    assert board.texts == [("lrscape/reason", decision.reason, decision.step) for decision in scheduler.history]
    assert [step for tag, _, step in board.scalars if tag == "lrscape/rate"] == [1, 2, 3, 4, 5]
    assert plt.get_fignums() == []
    none = Board()
    end = record(scheduler, none, figure_every=0)
    observed(scheduler, 3)
    end()
    assert none.figures == []


def test_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="needs TensorBoard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain = Plain(SCHEDULERS["TopoLR"])
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        end = record(plain.scheduler, writer)
        plain.train(batches(), 4)
        end()
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    events = found.Scalars("lrscape/rate")
    assert [event.step for event in events] == [decision.step for decision in plain.scheduler.history]
    for event, decision in zip(events, plain.scheduler.history, strict=True):
        assert event.value == pytest.approx(decision.rates[0], rel=1e-6)
    assert "lrscape/reason/curvature" in found.Tags()["scalars"]
    assert [event.step for event in found.Images("lrscape/trace")] == [plain.scheduler.history[-1].step]


def test_only_the_first_rank_writes(monkeypatch):
    from lrscape.integrations import recorders

    class Second:
        first = False

    scheduler, seen = river(), []
    record(scheduler, lambda values, step: seen.append(step))
    monkeypatch.setattr(recorders, "Ranks", Second)
    observed(scheduler, 1)
    assert seen == []


def test_errors(tmp_path):
    scheduler = river()
    with pytest.raises(TypeError, match="sink must be a path"):
        record(scheduler, 3)
    with pytest.raises(TypeError, match="expected one landscape-driven"):
        record(torch.optim.lr_scheduler.ConstantLR(scheduler.optimizer), print)
    with pytest.raises(ValueError, match="figure_every"):
        record(scheduler, print, figure_every=-1)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        record(scheduler, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        record(scheduler, str(tmp_path / "none" / "run.jsonl"))
