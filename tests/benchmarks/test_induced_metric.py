"""The published counts, by the optimizer classes themselves, with the published best settings that are not chaotic."""

import json

import pytest
import torch

from lrscape.benchmarks.induced_metric import GRIDS, PROBLEMS, PUBLISHED, RESULTS, path, sweep

STEADY = [
    ("beale", "sgd", {"lr": 0.01, "momentum": 0.9}),
    ("beale", "metric", {"lr": 0.1, "momentum": 0.5, "xi": 0.01}),
    ("beale", "log", {"lr": 0.1, "momentum": 0.5, "xi": 0.01}),
    ("rosenbrock", "metric", {"lr": 0.01, "momentum": 0.99, "xi": 0.1}),
    ("himmelblau", "adam", {"lr": 10.0, "momentum": 0.0, "beta_rms": 0.8}),
    ("himmelblau", "sgd", {"lr": 0.01, "momentum": 0.25}),
    ("himmelblau", "log", {"lr": 10.0, "momentum": 0.1, "xi": 10.0}),
    ("himmelblau", "rms", {"lr": 10.0, "momentum": 0.0, "xi": 0.01, "beta_rms": 0.85}),
]


@pytest.mark.parametrize(("function", "method", "options"), STEADY)
def test_published_counts(function, method, options):
    points = list(path(PROBLEMS[function], method, options))
    assert len(points) - 1 == PUBLISHED[function][method]


def test_side_by_side_is_as_one_by_one(monkeypatch):
    monkeypatch.setitem(GRIDS, "rms", {"lr": [10.0], "momentum": [0.0, 0.5], "xi": [0.01], "beta_rms": [0.85]})
    counts = sweep(PROBLEMS["himmelblau"], "rms", torch.zeros(2, dtype=torch.float64)).tolist()
    for momentum, count in zip((0.0, 0.5), counts, strict=True):
        options = {"lr": 10.0, "momentum": momentum, "xi": 0.01, "beta_rms": 0.85}
        assert len(list(path(PROBLEMS["himmelblau"], "rms", options))) - 1 == min(count, 1000)


def test_kept_results_are_in_the_published_range():
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == sum(len(methods) for methods in PUBLISHED.values())
    for line in lines:
        low, high = line["moved"]
        assert line["published"] == PUBLISHED[line["function"]][line["method"]]
        assert line["iterations"] == line["published"] or low <= line["published"] <= high
