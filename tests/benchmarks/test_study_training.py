"""One run: what it reads, what it counts, and that arms share everything but themselves."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.benchmarks.study.arms import ARMS, KINDS, missing
from lrscape.benchmarks.study.averages import Average, anytime, exponential
from lrscape.benchmarks.study.configuration import Configuration
from lrscape.benchmarks.study.reading import loss
from lrscape.benchmarks.study.training import run
from lrscape.benchmarks.study.workloads import BUNDLED, TASKS

ABSENT = {ARMS[name].kind for name in missing()}


def train(kind, rate=4e-3, workload="digits", steps=12, seed=0, horizon=1.0):
    about = (BUNDLED | TASKS)[workload]
    return run(Configuration(workload, kind, rate, seed, steps, horizon, about.batch), about)


def where(kind):
    welcome = [arm.workloads for arm in ARMS.values() if arm.kind == kind]
    return "digits" if any(names is None or "digits" in names for names in welcome) else welcome[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs_reads_and_counts(kind):
    if kind in ABSENT:
        pytest.skip("the extra is not installed")
    record = train(kind, rate=1.0 if kind.startswith("prodigy") else 4e-3, workload=where(kind), steps=20)
    json.dumps(record, allow_nan=False)
    expected = {"20"} if KINDS[kind].knows_horizon else {"5", "10", "20"}
    assert set(record["reads"]) == expected
    assert record["backward_passes"] == 20
    assert record["forward_passes"] >= 20
    assert record["forward_examples"] >= 20 * 64
    assert 0 <= record["arm_cpu"] <= record["cpu"]
    weights = {arm.weights for arm in ARMS.values() if arm.kind == kind}
    for weight in weights:
        assert math.isfinite(loss(record, weight, "test"))


def test_a_run_repeats_itself_bitwise():
    first, second = (train("cosine", workload="tabular") for _ in range(2))
    assert first["reads"]["12"]["raw"] == second["reads"]["12"]["raw"]


def test_constant_is_a_plain_loop():
    """Averages, readings and counters change nothing: a loop without them gives the same losses to the digit."""
    record = train("constant", rate=1e-3, steps=16)
    about = BUNDLED["digits"]
    data = about.data(0)
    torch.manual_seed(0)
    model = about.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)  # 16 // 20 = 0 steps of warmup
    batches = data.batches(64, torch.Generator().manual_seed(0))
    for _ in range(16):
        x, y = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = data.test[0]
        expected = float(F.cross_entropy(model(x), y))
    assert loss(record, "raw", "test") == pytest.approx(expected, rel=1e-6)


def test_arms_agree_where_their_schedules_do():
    """Until it decays, step decay is the constant arm with the same warmup: so data and weights are shared."""
    constant, step = train("constant", steps=10), train("step", steps=20, horizon=0.5)
    assert constant["reads"]["10"]["raw"] != step["reads"]["10"]["raw"]  # decayed after 5
    wsd = train("wsd", steps=10)
    assert constant["marks"][5]["rate"] == wsd["marks"][5]["rate"] == pytest.approx(4e-3)
    assert wsd["marks"][-1]["rate"] == pytest.approx(0.0)


def test_cosine_ends_at_zero_at_its_own_horizon():
    record = train("cosine", steps=40, horizon=0.25)
    assert record["steps_done"] == 10
    assert record["marks"][-1]["rate"] == pytest.approx(0.0)
    assert loss(record, "raw", "test") == loss(record, "raw", "test", 0.25)


def test_a_diverged_run_is_recorded_as_such():
    record = train("constant", rate=1e12, workload="tabular", steps=40)
    json.dumps(record, allow_nan=False)
    assert record["finished"]
    assert record["diverged"]
    assert record["steps_done"] < 40
    assert loss(record, "raw", "test") == math.inf


def test_the_range_test_spends_its_steps_and_goes_back():
    record = train("range-test", rate=None, steps=100)
    assert 1e-7 < record["rate_found"] < 1
    rates = {mark["step"]: mark["rate"] for mark in record["marks"]}
    assert rates[20] == rates[100] == pytest.approx(record["rate_found"])
    assert record["reads"]["25"]["raw"]["test"]["loss"] < 2.5  # the test itself ended far above


def test_valley_ignores_the_rate_and_the_horizon():
    record = train("valley", rate=None, steps=16)
    longer = train("valley", rate=None, steps=32)
    assert record["reads"]["16"]["raw"] == longer["reads"]["16"]["raw"]
    assert record["reads"]["16"]["average"] == longer["reads"]["16"]["average"]
    assert record["options"]["start"] == pytest.approx(record["marks"][0]["rate"] / record["options"]["growth"])


def test_variants_of_valley_are_tied_to_its_defaults():
    plain, fast, slow, low = (
        train(f"valley{end}", rate=None, steps=4)["options"] for end in ("", "-fast", "-slow", "-low")
    )
    assert fast["growth"] == pytest.approx(plain["growth"] ** 2)
    assert slow["growth"] == pytest.approx(plain["growth"] ** 0.5)
    assert low["start"] == pytest.approx(plain["start"] / 100)


@pytest.mark.parametrize("weight", [anytime, exponential])
def test_averages_against_the_sum_they_stand_for(weight):
    """Parameters and BatchNorm's statistics are Σ w_t Π_{s>t}(1 − w_s)·θ_t, and the model is put back bitwise."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average, seen = Average(model, weight), []
    for _ in range(300 if weight is exponential else 20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(8, 3))
        average.update()
        seen.append({name: value.double().numpy().copy() for name, value in model.state_dict().items()})
    weights = [weight(t) for t in range(len(seen))]
    shares = [w * np.prod([1 - later for later in weights[t + 1 :]]) for t, w in enumerate(weights)]
    assert sum(shares) == pytest.approx(1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with average.applied():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected = sum(share * old[name] for share, old in zip(shares, seen, strict=True))
                np.testing.assert_allclose(value.numpy(), expected, rtol=2e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.skipif("schedule-free" in ABSENT, reason="the extra is not installed")
def test_schedule_free_is_read_with_statistics_of_its_own_weights():
    """Reading leaves weights and statistics as they were, so runs that are read more often go the same way."""
    often, once = train("schedule-free", steps=40), train("schedule-free", steps=40)
    assert often["reads"]["40"]["raw"] == once["reads"]["40"]["raw"]
    from lrscape.benchmarks.study.arms.competitors import recalibrated

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    batches = [torch.randn(64, 3) for _ in range(5)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with recalibrated(model, batches):
        means = torch.stack([model[0](batch).mean(0) for batch in batches]).mean(0)
        assert torch.allclose(model[1].running_mean, means, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_plateau_pays_for_looking():
    record = train("plateau", workload="digits", steps=40)
    assert record["forward_passes"] > record["backward_passes"]
