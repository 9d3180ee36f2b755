"""Which runs are wanted, in which order, and that results decide what comes next."""

import json
from dataclasses import asdict, replace

import pytest
from made_runs import Made, finish

from lrscape.benchmarks.study.arms import ARMS
from lrscape.benchmarks.study.configuration import Configuration
from lrscape.benchmarks.study.estimate import estimate
from lrscape.benchmarks.study.plan import TUNING_SEEDS, WRONG, Study
from lrscape.benchmarks.study.records import Records
from lrscape.benchmarks.study.workloads import BUNDLED


def study(arms, best=None, workloads=("digits",)):
    return Study({name: BUNDLED[name] for name in workloads}, arms, Made(best or {}))


def test_rates_are_tuned_apart_from_the_seeds_that_are_reported():
    what = study(["constant"], {"constant": 1.6e-2})
    runs = [configuration for _, configuration in finish(what)]
    tuning = [run for run in runs if run.seed in TUNING_SEEDS]
    fresh = [run for run in runs if run.seed not in TUNING_SEEDS]
    assert {run.rate for run in fresh} == {1.6e-2}
    assert [run.seed for run in fresh] == [0, 1, 2, 3, 4]
    assert {run.rate for run in tuning} >= {2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2} | {1.6e-2 * wrong for wrong in WRONG}
    assert len(runs) == len(set(runs))


def test_an_arm_that_knows_the_horizon_is_tuned_for_each():
    what = study(["cosine"])
    runs = [configuration for _, configuration in finish(what)]
    for horizon in (0.25, 0.5, 1.0):
        assert {run.seed for run in runs if run.horizon == horizon} == {*TUNING_SEEDS, 0, 1, 2, 3, 4}
    assert {run.batch for run in runs} == {16, 64, 256}


def test_arms_of_one_kind_share_their_runs():
    alone = len(finish(study(["constant"])))
    assert len(finish(study(["constant", "constant-average"]))) == alone


def test_the_neighbours_of_the_constant_rate_are_enough_for_topolr():
    what = study(["topo"], {"constant": 1.6e-2, "topo": 1.0})
    runs = [configuration for _, configuration in finish(what)]
    assert {run.rate for run in runs if run.kind == "topo" and run.seed in TUNING_SEEDS} == {8e-3, 1.6e-2, 3.2e-2}
    assert {run.rate for run in runs if run.kind == "topo" and run.seed == 0} == {3.2e-2}


def test_essential_comparisons_come_first_on_all_workloads():
    what = study([name for name, arm in ARMS.items() if arm.essential], workloads=("digits", "tabular"))
    titles = [title for title, _ in finish(what)]
    firsts = [titles.index(title) for title in dict.fromkeys(titles)]
    assert firsts == sorted(firsts)
    assert list(dict.fromkeys(titles))[:2] == ["essential", "essential, shorter horizons"]
    first = {configuration.kind for title, configuration in study(list(ARMS)).pending() if title == "essential"}
    assert first == {"cosine", "valley", "constant", "wsd", "schedule-free", "prodigy"}


def test_valley_is_never_tuned():
    runs = [configuration for _, configuration in finish(study(["valley"]))]
    assert {run.rate for run in runs} == {None}
    assert not {run.seed for run in runs} & set(TUNING_SEEDS)


def test_wrong_rates_are_compared_with_the_right_one_on_the_same_seeds():
    runs = [configuration for _, configuration in finish(study(["prodigy"]))]
    assert {run.rate for run in runs if run.seed in TUNING_SEEDS} == {1.0, *WRONG}
    assert {run.rate for run in runs if run.seed not in TUNING_SEEDS} == {1.0}


def test_the_estimate_counts_what_is_missing():
    what = study(["valley"])
    total = sum(runs for cells in estimate(what).values() for runs, _ in cells.values())
    assert total == len(finish(what)) == 15
    assert estimate(what) == {}


def test_smoke_tests_are_short():
    what = replace(study(["cosine"]), most=12, tuning_seeds=(1000,), extend=False, seeds=(0, 1))
    runs = [configuration for _, configuration in finish(what)]
    assert {run.steps for run in runs} == {12}
    assert {run.length for run in runs} == {3, 6, 12}


@pytest.fixture
def record():
    return {**asdict(Configuration("digits", "cosine", 4e-3 / 3, 0, 12, 0.25, 64)), "reads": {}}


def test_records_survive(tmp_path, record):
    Records(tmp_path).add(record)
    again = Records(tmp_path)
    assert again.get(Configuration("digits", "cosine", 4e-3 / 3, 0, 12, 0.25, 64)) == record
    assert again.get(Configuration("digits", "cosine", 4e-3 / 3, 1, 12, 0.25, 64)) is None


def test_a_torn_line_is_dropped_and_not_joined_to_the_next(tmp_path, record):
    path = tmp_path / "digits.jsonl"
    records = Records(tmp_path)
    records.add(record)
    with path.open("ab") as file:
        file.write(json.dumps({**record, "seed": 1}).encode()[:40])
    records = Records(tmp_path)
    assert len(records) == 1
    records.add({**record, "seed": 2})
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [0, 2]
