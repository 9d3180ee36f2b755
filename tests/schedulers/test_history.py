"""Decisions are told to whoever subscribes, and become lines of JSON."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrscape.schedulers import Decision, History

FLOATS = st.floats() | st.integers(-5, 5)


def decision(step):
    return Decision(step, {"loss": 1.0 / step}, [0.5], "flat", [0.1])


def test_listeners_get_each_new_decision_and_the_one_before():
    history, seen = History(2), []
    history.append(decision(1))
    end = history.subscribe(lambda new, before: seen.append((new.step, before.step)))
    for step in (2, 3, 4):
        history.append(decision(step))
    end()
    end()
    history.append(decision(5))
    assert seen == [(2, 1), (3, 2), (4, 3)]
    first = []
    other = History(1)
    other.subscribe(lambda new, before: first.append(before))
    other.append(decision(1))
    assert first == [None]


def test_what_is_restored_or_copied_is_not_told():
    history, seen = History(5), []
    history.subscribe(lambda new, before: seen.append(new.step))
    history.restore([{"step": 9, "measurement": {}, "factors": [1.0], "reason": "flat", "rates": [0.1]}])
    for twin in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        twin.append(decision(10))
        assert [entry.step for entry in twin] == [9, 10]
    assert seen == []
    history.append(decision(11))
    assert seen == [11]


def test_a_listener_may_end_itself():
    history, seen = History(5), []
    ends = [history.subscribe(lambda new, _: (seen.append("once"), ends[0]()))]
    history.subscribe(lambda new, _: seen.append("always"))
    history.append(decision(1))
    history.append(decision(2))
    assert seen == ["once", "always", "always"]


@given(st.dictionaries(st.text(max_size=5), FLOATS | st.tuples(FLOATS, FLOATS), max_size=4))
def test_lines_are_strict_json(measurement):
    line = Decision(3, measurement, [1.0], "flat", [0.1]).to_json(name="own")

    def refuse(word):
        raise AssertionError(word)

    found = json.loads(line, parse_constant=refuse)
    assert list(found) == ["name", "step", "measurement", "factors", "reason", "rates"]
    for key, value in measurement.items():
        values, kept = ([*value], found["measurement"][key]) if isinstance(value, tuple) else ([value], None)
        for number, back in zip(values, [found["measurement"][key]] if kept is None else kept, strict=True):
            assert back == (number if math.isfinite(number) else None)


def test_wrappers_without_hooks_are_looked_through():
    from lrscape.landscape.stability import stability_factor, unwrapped

    class Wrapper(torch.optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    assert unwrapped(Wrapper(Wrapper(optimizer))) is optimizer
    assert stability_factor(Wrapper(optimizer)) == 2
    optimizer.optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    assert unwrapped(optimizer) is optimizer
    empty = Wrapper(None)
    assert unwrapped(empty) is empty


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"step": 1.0}, TypeError),
        ({"step": True}, TypeError),
        ({"reason": 3}, TypeError),
        ({"factors": ["1"]}, TypeError),
        ({"rates": [True]}, TypeError),
        ({"rates": 3}, TypeError),
        ({"measurement": 3}, TypeError),
        ({"measurement": ["loss"]}, ValueError),
        ({"measurement": {"loss": 10**400}}, OverflowError),
    ],
)
def test_an_entry_is_checked(change, error):
    entry = {"step": 1, "measurement": {"loss": None}, "factors": [1], "reason": "", "rates": []}
    found = Decision.from_entry(entry)
    assert (found.step, found.factors, found.reason, found.rates) == (1, [1.0], "", [])
    assert math.isnan(found.measurement["loss"])
    with pytest.raises(error):
        Decision.from_entry(entry | change)
    for name in entry:
        with pytest.raises(KeyError, match=name):
            Decision.from_entry({key: value for key, value in entry.items() if key != name})


def test_numbers_of_numpy_become_python_s(tmp_path):
    made = Decision(
        np.int64(3),
        {"loss": np.float32(0.5), "many": (np.float64(2.0), 1)},
        [np.float64(0.25)],
        "flat",
        [np.float32(1)],
    )
    assert type(made.step) is int
    assert made.measurement == {"loss": 0.5, "many": (2.0, 1)}
    numbers = [made.measurement["loss"], made.measurement["many"][0], *made.factors, *made.rates]
    assert {type(number) for number in numbers} == {float}
    history = History(1)
    history.append(made)
    history.to_jsonl(tmp_path / "history.jsonl")
    assert json.loads((tmp_path / "history.jsonl").read_text())["measurement"] == {"loss": 0.5, "many": [2.0, 1]}
    torch.save(history.state(1), tmp_path / "state.pt")
    history.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert history[0].rates == [1.0]


@pytest.mark.parametrize("size", [1, 3])
def test_size(size):
    history = History(size)
    for step in range(1, 6):
        history.append(decision(step))
    assert [entry.step for entry in history] == list(range(6 - size, 6))


def test_it_is_sliced_like_a_list():
    history = History(3)
    for step in (1, 2, 3, 4):
        history.append(decision(step))
    assert [entry.step for entry in history[-2:]] == [3, 4]
    assert [entry.step for entry in history[:2]] == [2, 3]
    assert history[-1].step == 4
