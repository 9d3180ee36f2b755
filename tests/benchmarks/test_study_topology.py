"""Whether persistence foretells anything: probes are harmless, lines true, and the model finds what is there."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lrscape.benchmarks.study import topology, topology_data, topology_model
from lrscape.benchmarks.study.configuration import Configuration
from lrscape.benchmarks.study.plan import Study
from lrscape.benchmarks.study.records import Records
from lrscape.benchmarks.study.topology_data import barcode, every, part, planned, probe, run, train
from lrscape.benchmarks.study.topology_model import (
    Predictions,
    areas,
    balance,
    bits,
    choose,
    gain,
    held_out,
    learn,
    mean_difference,
)
from lrscape.benchmarks.study.topology_report import (
    ALL,
    KNOWN,
    NEAR,
    by_workload,
    compare,
    draw,
    gains,
    seen,
    title,
    verdict,
)
from lrscape.benchmarks.study.topology_rows import BASE, TOPOLOGY, Rows, pairs, rows_of
from lrscape.benchmarks.study.training import measure
from lrscape.benchmarks.study.training import run as plain
from lrscape.benchmarks.study.workloads import BUNDLED
from lrscape.landscape import features, random_directions, sparse_stencil
from lrscape.landscape.sweep import sweep

TINY = Configuration("tabular", "constant", 1e-3, 0, 120, 1.0, 64)


@pytest.fixture(scope="module")
def record():
    return run(TINY, BUNDLED["tabular"])


# Runs


def test_training_is_bitwise_the_plain_run(record):
    """Neither probes nor readings move a weight, and the loop is the study's own."""
    watched, _, _ = train(TINY, BUNDLED["tabular"], lambda *_: None)
    seen = []

    def watch(step, model, batch, data, policy):
        if step % 50 == 0:
            measure(model, BUNDLED["tabular"], data.validation)
            x, y = part(batch)
            seen.append(probe(model, lambda: BUNDLED["tabular"].loss(model(x), y), (0, step)))

    probed, done, diverged = train(TINY, BUNDLED["tabular"], watch)
    assert (len(seen), done, diverged) == (2, 120, False)
    for one, other in zip(watched.state_dict().values(), probed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    final = plain(TINY, BUNDLED["tabular"])["reads"]["120"]["raw"]["validation"]
    assert measure(probed, BUNDLED["tabular"], BUNDLED["tabular"].data(0).validation) == final


def test_a_line_says_what_was_measured(record):
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [one["step"] for one in record["probes"]] == [5, 10, 15, 20]
    losses = {}

    def watch(step, model, batch, data, policy):
        losses[step] = measure(model, BUNDLED["tabular"], data.validation)["loss"]
        if step == 10:
            x, y = batch[0][:16], batch[1][:16]
            directions = random_directions(model, 2, seed=(0, 10))
            closure = lambda: BUNDLED["tabular"].loss(model(x), y)  # noqa: E731
            losses["probe"] = features(sweep(model, closure, directions, sparse_stencil(0.12, 15, 0)))
            losses["rate"] = policy.rate()

    train(TINY, BUNDLED["tabular"], watch)
    for one in record["probes"]:
        assert one["validation"] == losses[one["step"]]
        assert one["later"] == losses[one["step"] + 100]
    second, stencil = record["probes"][1], losses["probe"]
    assert second["rate"] == pytest.approx(losses["rate"], rel=1e-6)
    assert second["loss"] == pytest.approx(stencil.center, rel=1e-6)
    for name, expected in (  # differences of losses that single precision knows to 1e-7
        ("sharpness", stencil.sharpness),
        ("variance", stencil.variance),
        ("curvature", stencil.fit.eigenvalues[-1]),
    ):
        assert second[name] == pytest.approx(expected, rel=1e-2), name
    for span in ("near", "wide"):
        assert second[span]["lowest"] <= second["loss"] <= second[span]["highest"]


def test_a_run_that_diverges_has_no_later_loss():
    found = run(replace(TINY, rate=1e12), BUNDLED["tabular"])
    json.dumps(found, allow_nan=False)
    assert found["diverged"]
    assert all(one["later"] is None for one in found["probes"])


def test_only_functions_of_time_are_probed():
    with pytest.raises(TypeError, match=r"functions of time.*plateau"):
        train(replace(TINY, kind="plateau", steps=30), BUNDLED["tabular"], lambda *_: None)


@pytest.mark.parametrize(("steps", "apart"), [(240, 10), (480, 25), (1500, 100), (120, 5), (10, 1)])
def test_probes_fall_on_a_raster_that_holds_the_loss_100_steps_later(steps, apart):
    assert every(steps) == apart
    assert 100 % apart == 0


def test_a_part_of_a_batch_holds_16_examples_or_512_targets():
    assert [len(one) for one in part((torch.zeros(64, 3), torch.zeros(64)))] == [16, 16]
    assert [len(one) for one in part((torch.zeros(16, 64), torch.zeros(16, 64)))] == [8, 8]
    assert [len(one) for one in part((torch.zeros(4, 3), torch.zeros(4)))] == [4, 4]


def test_bars_by_hand():
    bars = np.array([[0.0, math.inf], [1.0, 2.0], [1.0, 4.0], [1.5, 1.5 + 1e-7]])
    found = barcode(bars, 1.0)
    assert (found["pairs"], found["total"], found["largest"]) == (2.0, 4.0, 3.0)
    assert found["entropy"] == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))
    assert barcode(bars, 1e-3)["pairs"] == 3.0


class Tuned:
    """A study's runs: the tuned rates are the centre of the search."""

    def get(self, wanted):
        value = 1 + abs(math.log(wanted.rate / BUNDLED[wanted.workload].centre))
        read = {weights: {"validation": {"loss": value}} for weights in ("raw", "average")}
        return {"steps": wanted.steps, "horizon": wanted.horizon, "reads": {str(wanted.length): read}}


def test_runs_are_planned_at_the_tuned_rates_seed_by_seed():
    names = ("tabular", "residual")
    wanted = planned(Study({name: BUNDLED[name] for name in names}, ("constant", "cosine"), Tuned()))
    assert len(wanted) == len(set(wanted)) == 2 * 4 * 5
    assert [one.seed for one in wanted] == sorted(one.seed for one in wanted)
    centre = BUNDLED["tabular"].centre
    rates = {(one.kind, one.rate) for one in wanted if one.workload == "tabular"}
    assert rates == {("cosine", centre), *(("constant", factor * centre) for factor in (0.25, 1.0, 4.0))}


def test_rates_that_are_not_tuned_are_not_made_up(tmp_path):
    study = Study({"tabular": BUNDLED["tabular"]}, ("constant", "cosine"), Records(tmp_path))
    with pytest.raises(ValueError, match="constant on tabular is not tuned"):
        planned(study)


def test_what_is_there_is_not_run_again(tmp_path, monkeypatch, capsys):
    """The command resumes: of two runs it makes the one that is missing, in a process of its own."""
    wanted = [TINY, replace(TINY, seed=1)]
    monkeypatch.setattr(topology_data, "planned", lambda _: wanted)
    out = tmp_path / "out"
    Records(out).add(run(wanted[0], BUNDLED["tabular"]))
    first = (out / "tabular.jsonl").read_bytes()
    arguments = ["--workloads", "tabular", "--jobs", "1", "--rates", str(tmp_path), "--out", str(out)]
    assert topology.main(arguments) == 0
    assert "0 left  tabular  constant" in capsys.readouterr().out
    both = (out / "tabular.jsonl").read_bytes()
    assert both.startswith(first)
    assert [*Records(out).runs] == wanted
    assert topology.main(arguments) == 0
    assert (out / "tabular.jsonl").read_bytes() == both
    assert topology.main(["report", "--out", str(out)]) == 0
    assert "8 probes, 4 to 4 a run" in (out / "report.md").read_text()


# The model


def made(decides: bool, runs: int = 20, probes: int = 15, seed: int = 0) -> Rows:
    """Probes of four workloads and five seeds; loss decides y in part, and one number of the topology if it shall."""
    generator = np.random.default_rng(seed)
    n = runs * probes
    numbers = {name: generator.normal(size=n) for name in (*BASE, *TOPOLOGY, "rate", "share")}
    for name in (
        "variance",
        "curvature",
        *(f"{s} {what}" for s in ("near", "wide") for what in ("border", "roughness")),
    ):
        numbers[name] = generator.normal(size=n)
    score = 0.8 * numbers["loss"] + 0.3 + (1.5 * numbers["near h0 total"] if decides else 0.0)
    run = np.repeat(np.arange(runs), probes)
    workload = np.array(["abcd"[at % 4] for at in run])
    numbers |= {f"is {name}": (workload == name).astype(float) for name in "abcd"}
    lower = generator.random(n) < 1 / (1 + np.exp(-score))
    return Rows(numbers, lower, workload, run // 4 % 5, run)


def test_a_gain_is_found_where_persistence_decides():
    rows = made(decides=True)
    for groups in (rows.seed, rows.workload):
        found = Predictions(rows, groups).gain(BASE, pairs("near"))
        assert 0.1 < found.bits.low < found.bits.value < found.bits.high
        assert found.area.low > 0.05
        assert all(part.value > 0 for part in found.workloads.values())
        assert found.without - found.extended == pytest.approx(found.bits.value)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_gain_is_found_where_persistence_is_noise(seed):
    rows = made(decides=False, seed=seed)
    predictions = Predictions(rows, rows.workload if seed else rows.seed)
    found = predictions.gain(BASE, pairs("near"))
    assert found.bits.low <= 0
    assert abs(found.bits.value) < 0.03
    assert predictions.gain((), BASE).bits.low > 0  # what the base does know is found


def test_held_out_groups_are_not_seen():
    """A number that gives the outcome away in all groups but one, and lies there, is believed there to its cost."""
    rows = made(decides=False)
    tell = np.where(rows.lower ^ (rows.workload == "a"), 1.0, -1.0)[:, None]
    paid = bits(held_out(tell, 1, rows.lower, np.ones(len(rows)), rows.workload), rows.lower)
    assert paid[rows.workload == "a"].mean() > 3
    honest = rows.workload != "a"
    p = held_out(tell[honest], 1, rows.lower[honest], np.ones(honest.sum()), rows.workload[honest])
    paid = bits(p, rows.lower[honest])
    assert paid.mean() < 0.1


def test_without_numbers_the_base_rate_is_learnt():
    lower = np.array([True, True, True, False])
    p = learn(np.empty((4, 0)), lower, np.ones(4), 1.0, np.empty((2, 0)))
    assert p.tolist() == pytest.approx([4 / 6] * 2)
    same = learn(np.ones((4, 1)), np.ones(4, dtype=bool), np.ones(4), 1.0, np.ones((1, 1)))
    assert same.tolist() == pytest.approx([5 / 6])


def test_numbers_that_are_worth_nothing_can_be_ignored():
    rows = made(decides=False)
    x, weights = rows.matrix([*BASE, *TOPOLOGY]), np.ones(len(rows))
    assert choose(x, 3, rows.lower, weights, rows.seed)[0] == 3
    predictions = Predictions(rows, rows.seed)
    always = predictions.gain(BASE, TOPOLOGY, always=True)
    assert always.bits.value < predictions.gain(BASE, TOPOLOGY).bits.value
    told = np.concatenate([x, rows.lower[:, None]], axis=1)
    assert choose(told, 3, rows.lower, weights, rows.seed)[0] == told.shape[1]


def test_areas_against_scikit_learn():
    """As counted over pairs of runs, and as computed on a table in which probes are weighted."""
    rows = made(decides=False)
    generator = np.random.default_rng(2)
    p = generator.random(len(rows)).round(1)  # with ties
    counts = np.stack([np.ones(20), generator.integers(0, 3, 20)])
    found = areas(rows, p, balance(rows), counts)
    for one, count in zip(found, counts, strict=True):
        weights = balance(rows) * count[rows.run]
        assert one == pytest.approx(roc_auc_score(rows.lower, p, sample_weight=weights))
    assert np.isnan(areas(rows, p, weights * rows.lower, counts)).all()


def test_intervals_come_from_whole_runs():
    """Probes that repeat their run say nothing new: copying each ten times leaves the interval where it was."""
    generator = np.random.default_rng(1)
    difference = generator.normal(size=20)
    few = Rows({}, np.ones(20, dtype=bool), np.array(["a"] * 20), np.zeros(20, dtype=int), np.arange(20))
    many = few.where(np.repeat(np.arange(20), 10))
    one = mean_difference(few, difference, np.ones(20))
    other = mean_difference(many, np.repeat(difference, 10), np.ones(200))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    error = difference.std(ddof=0) / math.sqrt(20)
    assert one.value == pytest.approx(difference.mean())
    assert one.high - one.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_balancing_makes_outcomes_count_alike():
    rows = made(decides=False)
    weights = balance(rows)
    for workload in rows.workloads:
        here = rows.workload == workload
        assert weights[here & rows.lower].sum() == pytest.approx(weights[here & ~rows.lower].sum())
    assert weights.mean() == pytest.approx(1.0)
    even = gain(rows, np.full(len(rows), 0.9), np.full(len(rows), 0.5), weights)
    assert even.extended == pytest.approx(1.0)
    assert even.without == pytest.approx(-(math.log2(0.9) + math.log2(0.1)) / 2)


# The report


def test_rows_are_read_from_lines(record):
    broken = json.loads(json.dumps(record))
    broken["seed"] = 1
    broken["probes"][0]["later"] = None  # the run diverged later: not lower
    broken["probes"][1]["near"]["highest"] = None
    broken["probes"][2]["validation"] = None
    rows = rows_of([record, broken])
    assert len(rows) == 6
    assert rows.left_out == 2
    assert rows.lower.tolist() == [one["later"] < one["validation"] for one in record["probes"]] + [False, True]
    assert rows.seed.tolist() == [0] * 4 + [1] * 2
    first = record["probes"][0]
    assert rows.numbers["loss"][0] == pytest.approx(math.log(first["loss"]))
    assert rows.numbers["wide above"][0] == pytest.approx(math.log(first["wide"]["highest"] / first["loss"]))
    assert all(np.isfinite(values).all() for values in rows.numbers.values())
    with pytest.raises(ValueError, match="no probes"):
        rows_of([])


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [(0.2, 0.1, "helps"), (-0.1, -0.2, "harms"), (0.2, -0.1, "neither helps nor harms"), (0.0, 0.0, "not used")],
)
def test_the_verdict_says_what_the_intervals_say(first, second, word):
    """The added numbers shift the probability of what happens, in every other run of a workload by something else."""
    rows = made(decides=False)
    half = np.full(len(rows), 0.5)
    other = half + np.where(rows.run // 4 % 2, first, second) * np.where(rows.lower, 1, -1)
    found = gain(rows, half, other, np.ones(len(rows)))
    said = verdict({("workloads", title(ALL)): (None, found)})
    assert said.startswith(f"- a workload left out, {ALL}: **{word}")
    assert len(said.splitlines()) == 1


def test_the_report_and_its_figure(tmp_path, monkeypatch):
    """Two schemes, with and without balance; the figure has a place for each workload and for all of them."""
    monkeypatch.setattr(topology_model, "STRENGTHS", (1.0,))
    rows = made(decides=True, runs=8, probes=8)
    found = compare(rows)
    assert sum(scheme == "seeds" for scheme, _ in found) == 15
    assert sum(scheme == "workloads" for scheme, _ in found) == 13
    lines = gains(found, "seeds").splitlines()
    assert len(lines) == 2 + 15
    asked = found["seeds", title(NEAR)][1]
    assert lines[3].startswith(f"| {NEAR} | {KNOWN} | {asked.without:.3f} | {asked.extended:.3f} | ")
    assert by_workload(rows, found).count("\n") == seen(rows).count("\n") == 2 + 4
    share = 100 * rows.lower[rows.workload == "a"].mean()
    assert seen(rows).splitlines()[2].startswith(f"| a | 2 | 16 | {share:.0f} % | ")
    target = draw(rows, found, tmp_path / "gains.svg")
    assert target.stat().st_size > 5000
