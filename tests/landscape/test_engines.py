import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import MODELS, loss_of
from torch import nn
from traces import state

from lrscape.landscape import Objective, batched, engines, evaluate, grid, random_directions, trial
from lrscape.landscape.engines import Choice, Job
from lrscape.landscape.parameters import movable
from lrscape.landscape.sums import Totals


@pytest.fixture
def two_threads():
    kept = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(kept)


class Hungry(nn.Module):
    """Fails like an allocator where more than so many points are evaluated at once."""

    def __init__(self, most, error):
        super().__init__()
        self.layer, self.most, self.error = nn.Linear(4, 3), most, error

    def forward(self, x):
        weight = torch._C._functorch.get_unwrapped(self.layer.weight) if self.wrapped() else self.layer.weight
        if weight.dim() == 3 and weight.shape[0] > self.most:
            raise self.error
        return self.layer(x)

    def wrapped(self):
        return torch._C._functorch.is_batchedtensor(self.layer.weight)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_chunks_are_halved_until_they_fit(error, caplog):
    model = Hungry(7, error)
    batch = MODELS["tabular"]()[1]
    directions, before = random_directions(model, 2), state(model)
    with caplog.at_level(logging.WARNING, logger="lrscape"):
        found = evaluate(model, Objective(loss_of, [batch]), directions, grid(7), engine="batched", chunk=32)
    assert state(model) == before
    assert (found.provenance["engine"], found.provenance["chunk"]) == ("batched", 4)
    assert [record.getMessage()[-9:] for record in caplog.records] == ["16 points", " 8 points", " 4 points"]
    np.testing.assert_allclose(
        found.losses, evaluate(model, Objective(loss_of, [batch]), directions, grid(7), engine="inplace").losses, 1e-5
    )


def test_what_never_fits_is_evaluated_in_place(caplog, monkeypatch):
    monkeypatch.setattr(engines, "_logged", set())
    model, batch = Hungry(0, ERRORS[0]), MODELS["tabular"]()[1]
    with caplog.at_level(logging.INFO, logger="lrscape"):
        found = evaluate(
            model, Objective(loss_of, [batch]), random_directions(model, 2), grid(3), engine="batched", chunk=4
        )
    assert found.provenance["engine"] == "inplace"
    assert "does not fit into memory" in caplog.text


def test_the_engine_is_not_blamed_for_what_the_loss_returns(caplog, monkeypatch):
    monkeypatch.setattr(engines, "_logged", set())
    model, batch = MODELS["tabular"]()
    with caplog.at_level(logging.INFO, logger="lrscape"), pytest.raises(TypeError, match="got str"):
        evaluate(model, Objective(lambda *_: "x", [batch]), random_directions(model, 2), grid(3), engine="batched")
    assert not caplog.records


def test_the_counter_takes_back_what_is_evaluated_again():
    model = Hungry(2, ERRORS[0])
    batch = MODELS["tabular"]()[1]
    task = Objective(lambda m, b: loss_of(m, b), [batch, batch])
    job = Job(model, task, movable(model), random_directions(model, 2))
    counted = []
    _, used = engines.run(Choice("batched", 8), job, grid(3).coordinates, counted.append)
    assert used == Choice("batched", 2)
    assert sum(counted) == 18


def test_an_error_that_is_not_about_memory_is_not_taken_for_it():
    assert not batched.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not batched.out_of_memory(ValueError("out of memory"))


def seconds_by_engine(monkeypatch, times):
    """Give engines known speeds: what a trial finds then follows from its rules."""
    now = [0.0]
    monkeypatch.setattr(trial.time, "perf_counter", lambda: now[0])
    ran = []

    def run(choice, job, coordinates, advance=lambda _: None):
        key = choice.engine if choice.engine != "batched" else f"batched {choice.chunk}"
        ran.append((key, len(coordinates)))
        for _ in range(len(coordinates)):
            now[0] += times[key]
            advance(1)
        values = np.ones((5, len(coordinates), 1))
        values[0] = times.get("value " + choice.engine, 1.0)
        return Totals(values, 1), choice

    monkeypatch.setattr(trial, "run", run)
    return ran


def chosen(model, batch, n=21, **options):
    job = Job(model, Objective(loss_of, [batch]), movable(model), random_directions(model, 2), **options)
    return trial.try_engines(job, grid(n).coordinates)


@pytest.mark.usefixtures("two_threads")
class TestTrial:
    wide = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 3))
    batch = MODELS["tabular"]()[1]

    def test_the_fastest_engine_is_taken_and_its_points_are_kept(self, monkeypatch):
        ran = seconds_by_engine(monkeypatch, {"inplace": 1.0, "threads": 0.8, "batched 4": 2.0})
        choice, kept = chosen(self.wide, self.batch)
        assert choice == Choice("threads", 256, 2)
        assert kept.values.shape[1] == 10
        assert ran == [("inplace", 5), ("threads", 10), ("batched 4", 4)]  # a slow engine costs four points

    def test_a_promising_chunk_is_enlarged(self, monkeypatch):
        times = {
            "inplace": 1.0,
            "threads": 0.8,
            "batched 4": 1.0,
            "batched 8": 0.8,
            "batched 16": 0.5,
            "batched 32": 0.3,
        }
        ran = seconds_by_engine(monkeypatch, times)
        choice, kept = chosen(self.wide, self.batch)
        assert choice == Choice("batched", 32)
        assert kept.values.shape[1] == 32
        assert ran[-4:] == [("batched 4", 4), ("batched 8", 8), ("batched 16", 16), ("batched 32", 32)]

    def test_a_chunk_that_gains_nothing_is_not_enlarged_further(self, monkeypatch):
        times = {"inplace": 1.0, "threads": 0.8, "batched 4": 0.9, "batched 8": 0.85}
        ran = seconds_by_engine(monkeypatch, times)
        assert chosen(self.wide, self.batch)[0] == Choice("threads", 256, 2)
        assert ran[-1] == ("batched 8", 8)

    def test_a_small_chunk_may_be_the_best(self, monkeypatch):
        times = {"inplace": 1.0, "threads": 0.8, "batched 4": 0.7, "batched 8": 0.69}
        seconds_by_engine(monkeypatch, times)
        choice, kept = chosen(self.wide, self.batch)
        assert choice == Choice("batched", 8)
        assert kept.values.shape[1] == 8

    def test_an_engine_with_other_values_is_not_taken(self, monkeypatch):
        times = {
            "inplace": 1.0,
            "threads": 0.1,
            "batched 4": 0.5,
            "batched 8": 0.2,
            "batched 16": 0.19,
            "value threads": 1.01,
        }
        seconds_by_engine(monkeypatch, times)
        assert chosen(self.wide, self.batch)[0].engine == "batched"

    def test_a_brief_scan_is_not_worth_a_comparison(self, monkeypatch):
        ran = seconds_by_engine(monkeypatch, {"inplace": 0.001})
        choice, kept = chosen(self.wide, self.batch)
        assert choice.engine == "inplace"
        assert kept.values.shape[1] == 5
        assert ran == [("inplace", 5)]

    def test_a_short_scan_follows_the_fixed_rule(self, monkeypatch):
        ran = seconds_by_engine(monkeypatch, {})
        assert chosen(self.wide, self.batch, n=7)[0].engine == "inplace"
        assert chosen(MODELS["tabular"]()[0], self.batch, n=7)[0].engine == "batched"
        assert ran == []

    def test_recalibration_and_low_memory_leave_one_engine(self, monkeypatch):
        seconds_by_engine(monkeypatch, {})
        for options in ({"batch_norm": "recalibrate"}, {"memory": "low"}):
            assert chosen(self.wide, self.batch, **options)[0] == Choice("inplace", 1)

    def test_a_trial_reads_one_batch_and_leaves_no_trace(self):
        read = []

        class Loader:
            def __iter__(self):
                for i in range(3):
                    read.append(i)
                    yield TestTrial.batch

            def __len__(self):
                return 3

        job = Job(self.wide, Objective(loss_of, Loader()), movable(self.wide), random_directions(self.wide, 2))
        before = state(self.wide)
        _, kept = trial.try_engines(job, grid(21).coordinates)
        assert read == [0]
        assert kept is None  # one batch says nothing about the mean
        assert state(self.wide) == before


def test_auto_keeps_the_trials_points(monkeypatch):
    monkeypatch.setattr(trial, "BRIEF", 0.0)
    model, batch = MODELS["convolutional"]()
    directions = random_directions(model, 2)
    calls = []

    def loss(m, b):
        calls.append(1)
        return loss_of(m, b)

    found = evaluate(model, Objective(loss, [batch]), directions, grid(9))
    engine = {"engine": found.provenance["engine"], "chunk": found.provenance["chunk"]}
    again = evaluate(model, Objective(loss_of, [batch]), directions, grid(9), **engine)
    assert np.array_equal(found.losses, again.losses)


def test_precision_is_for_the_probe_only():
    model, batch = MODELS["tabular"]()
    seen, switch = [], torch.backends.cuda.matmul.fp32_precision

    def loss(m, b):
        out = m(b[0])
        seen.append((out.dtype, torch.backends.cuda.matmul.fp32_precision))
        return F.cross_entropy(out.float(), b[1])

    directions = random_directions(model, 2)
    found = evaluate(
        model, Objective(loss, [batch]), directions, grid(3), engine="inplace", autocast=torch.bfloat16, tf32=True
    )
    assert set(seen) == {(torch.bfloat16, "tf32")}
    assert torch.backends.cuda.matmul.fp32_precision == switch
    assert not torch.is_autocast_enabled("cpu")
    assert (found.provenance["autocast"], found.provenance["tf32"]) == ("torch.bfloat16", "True")
    with pytest.raises(ValueError, match=r"autocast must be torch\.bfloat16 or torch\.float16, got torch\.float64"):
        evaluate(model, Objective(loss, [batch]), directions, grid(3), autocast=torch.float64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "fast"}, "engine must be 'auto', 'inplace', 'batched' or 'threads', got 'fast'"),
        ({"threads": 0}, "threads must be at least 1 worker, got 0"),
        ({"memory": "tiny"}, "memory must be 'normal' or 'low', got 'tiny'"),
        ({"share": "all"}, "share must be one of auto, points, batches, data, none, got 'all'"),
        ({"memory": "low", "engine": "batched"}, "use engine='inplace', not 'batched'"),
    ],
)
def test_bad_options_are_named(options, message):
    model, batch = MODELS["tabular"]()
    with pytest.raises(ValueError, match=message):
        evaluate(model, Objective(loss_of, [batch]), random_directions(model, 2), grid(3), **options)
