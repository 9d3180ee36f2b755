"""The curvature paper's experiments: what a run records, what counts as a spike, and that pieces add up."""

import json
import math

import numpy as np
import pytest

from lrscape.benchmarks.homotopy import TUNING_SEEDS, Runs
from lrscape.benchmarks.homotopy_arms import ARMS
from lrscape.benchmarks.homotopy_problems import EXPERIMENTS, LARGEST, QUADRATIC
from lrscape.benchmarks.homotopy_report import draw, print_tables, risen
from lrscape.benchmarks.homotopy_run import KEPT, run, spikes, thinned


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_runs_and_records(arm):
    record = run(QUADRATIC, arm, 0.01, seed=0, steps=40)
    json.dumps(record, allow_nan=False)
    assert record["test_loss"] < record["losses"][0]
    assert len(record["rates"]) == len(record["losses"]) == 40
    assert ("curvature" in record) is ARMS[arm].ours
    assert 0 <= record["probing"] <= record["seconds"]


def test_the_quadratic_has_the_curvature_it_says():
    record = run(QUADRATIC, "near edge", 1e3, seed=1, steps=250)
    assert record["curvature"][-1] == pytest.approx(LARGEST, rel=0.1)
    assert record["rates"][-1] == pytest.approx(0.9 * 2 / LARGEST, rel=0.15)
    assert run(QUADRATIC, "constant", 1.02 * 2 / LARGEST, seed=1, steps=250)["validation_loss"] > 1


def test_a_run_that_diverges_says_so():
    record = run(QUADRATIC, "constant", 1e3, seed=0, steps=100)
    assert record["diverged"]
    assert record["steps_done"] < 100
    assert record["test_loss"] is None
    json.dumps(record, allow_nan=False)


def test_spikes_are_counted_once_each():
    losses = np.ones(100)
    losses[[40, 41, 42, 70]] = 2.0
    losses[90] = math.nan
    assert spikes(losses) == 3
    assert spikes(np.linspace(2, 1, 100)) == 0


def test_curves_are_thinned_evenly():
    assert thinned([]) == []
    assert thinned([1.0, math.inf]) == [1.0, None]
    made = thinned([float(i) for i in range(1000)])
    assert (len(made), made[0], made[-1]) == (KEPT, 0.0, 999.0)


def test_when_a_rate_has_risen():
    entry = {"rates": [0.1, 0.2, 0.5, 1.0, None], "steps_done": 41, "first_rate": 0.1}
    assert risen(entry) == (0.1, 1.0, 31)


def test_pieces_add_up_to_the_tables_and_the_figure(tmp_path, capsys):
    path, experiment = tmp_path / "runs.jsonl", EXPERIMENTS["quadratic"]
    missing = set(Runs(path, most=12).wanted(experiment, [0]))
    assert {seed for *_, seed, _ in missing} == set(TUNING_SEEDS)  # comparisons wait for the rates
    while missing:
        runs = Runs(path, most=12)  # as another call finds them
        for key in list(missing)[:7]:
            runs.add(key, run(experiment.workloads[key[0]], key[1], key[2], key[3], key[4]))
        missing = {key for key in runs.wanted(experiment, [0]) if key not in runs.entries}
    again = Runs(path, most=12)
    assert again.entries == runs.entries
    assert again.tuned(experiment, "homotopy") == again.tuned(experiment, "constant")
    print_tables(again, experiment, [0])
    printed = capsys.readouterr().out
    assert all(f"| {ARMS[arm].title} | 1 |" in printed for arm in experiment.arms)
    draw(again, [0], tmp_path / "figure.png")
