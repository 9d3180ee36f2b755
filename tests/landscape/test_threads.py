import copy
import logging
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import MODELS, loss_of
from torch import nn
from traces import state

from lrscape.landscape import Objective, evaluate, grid, points, random_directions, sparse_stencil
from lrscape.landscape import engines as engines_module
from lrscape.landscape.engines import Choice, Job, run
from lrscape.landscape.parameters import movable

UNTHREADABLE = {"compiled"}


@pytest.fixture(autouse=True)
def two_threads():
    kept = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(kept)


def objective(batch, parts=2):
    n = len(batch[0]) // parts
    return Objective(loss_of, [tuple(t[i * n : (i + 1) * n] for t in batch) for i in range(parts)])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_norm", ["eval", "batch"])
def test_threads_agree_with_the_loop_over_copies_and_leave_no_trace(name, batch_norm):
    model, batch = MODELS[name]()
    task, directions = objective(batch), random_directions(model, 2, seed=1)
    where = points(sparse_stencil(0.4, samples=5).coordinates)
    before = state(model)
    found = evaluate(model, task, directions, where, engine="threads", threads=2, batch_norm=batch_norm)
    assert state(model) == before
    expected = evaluate(model, task, directions, where, engine="inplace", batch_norm=batch_norm)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-3, atol=1e-6)
    assert found.provenance["engine"] == ("inplace" if name in UNTHREADABLE else "threads")
    assert np.ptp(found.losses) > 0


def test_bits_do_not_depend_on_which_thread_takes_which_point():
    model, batch = MODELS["convolutional"]()
    task, directions = objective(batch), random_directions(model, 2)
    runs = [evaluate(model, task, directions, grid(5), engine="threads", threads=n).losses for n in (2, 2, 2, 2)]
    assert all(np.array_equal(runs[0], other) for other in runs[1:])


def test_default_is_a_worker_for_each_thread_of_torch():
    model, batch = MODELS["tabular"]()
    surface = evaluate(model, objective(batch), random_directions(model, 2), grid(5), engine="threads")
    assert surface.provenance["threads"] == 2


def test_autocast_of_the_caller_reaches_the_workers():
    model, batch = MODELS["tabular"]()
    seen = []

    def loss(m, b):
        out = m(b[0])
        seen.append(out.dtype)
        return F.cross_entropy(out.float(), b[1])

    directions = random_directions(model, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        evaluate(model, Objective(loss, [batch]), directions, grid(3), engine="threads", threads=2)
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    evaluate(model, Objective(loss, [batch]), directions, grid(3), engine="threads", threads=2, autocast=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("holds a socket")


class Shared(nn.Linear):
    def __deepcopy__(self, memo):
        return self


def draws_torch(model, batch):
    return F.cross_entropy(model(batch[0] + 0.1 * torch.randn_like(batch[0])), batch[1])


def draws_numpy(model, batch):
    return F.cross_entropy(model(batch[0] * np.random.rand()), batch[1])


def draws_python(model, batch):
    return F.cross_entropy(model(batch[0] * random.random()), batch[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m, t: (nn.Sequential(Uncopyable(4, 3)), t), "holds a socket"),
        (lambda m, t: (nn.Sequential(Shared(4, 3)), t), "shares its parameters"),
        (lambda m, t: (m, Objective(draws_torch, t.loader)), "draws random numbers"),
        (lambda m, t: (m, Objective(draws_numpy, t.loader)), "draws random numbers"),
        (lambda m, t: (m, Objective(draws_python, t.loader)), "draws random numbers"),
        (lambda m, t: (m, Objective(lambda _, b: loss_of(m, b), t.loader)), "gives other values"),
    ],
)
def test_falls_back_where_threads_would_give_other_numbers(change, reason, caplog, monkeypatch):
    monkeypatch.setattr(engines_module, "_logged", set())
    model, batch = MODELS["tabular"]()
    model, task = change(model, objective(batch))
    directions = random_directions(model, 2)
    before = state(model)
    with caplog.at_level(logging.INFO, logger="lrscape"):
        found = evaluate(model, task, directions, grid(5), engine="threads", threads=2)
    assert state(model) == before
    assert found.provenance["engine"] == "inplace"
    assert "threads" not in found.provenance
    assert reason in caplog.text
    expected = evaluate(model, task, directions, grid(5), engine="inplace")
    assert np.array_equal(found.losses, expected.losses)


@pytest.mark.parametrize("options", [{"batch_norm": "recalibrate"}, {"dropout": True}], ids=["recalibrate", "dropout"])
def test_falls_back_for_options_that_need_one_thread(options):
    model, batch = MODELS["convolutional"]()
    directions = random_directions(model, 2)
    found = evaluate(model, objective(batch), directions, grid(3), engine="threads", threads=2, **options)
    expected = evaluate(model, objective(batch), directions, grid(3), engine="inplace", **options)
    assert found.provenance["engine"] == "inplace"
    assert np.array_equal(found.losses, expected.losses)


def test_falls_back_for_a_closure_and_under_a_device_mode():
    model, batch = MODELS["tabular"]()
    directions = random_directions(model, 2)
    found = evaluate(model, lambda: loss_of(model, batch), directions, grid(3), engine="threads")
    assert found.provenance["engine"] == "inplace"
    with torch.device("cpu"):
        found = evaluate(model, objective(batch), directions, grid(3), engine="threads")
    assert found.provenance["engine"] == "inplace"


def test_an_exception_in_a_thread_is_the_users_and_leaves_no_trace():
    model, batch = MODELS["convolutional"]()
    calls = iter(range(1000))

    def loss(m, b):
        if next(calls) == 7:
            raise ArithmeticError("seventh")
        return loss_of(m, b)

    before, directions = state(model), random_directions(model, 2)
    with pytest.raises(ArithmeticError, match="seventh"):
        evaluate(model, Objective(loss, [batch]), directions, grid(5), engine="threads", threads=2)
    assert state(model) == before


def test_one_worker_and_more_workers_than_points():
    model, batch = MODELS["tabular"]()
    directions = random_directions(model, 1)
    expected = evaluate(model, objective(batch), directions, grid(3, dims=1), engine="inplace").losses
    for threads in (1, 8):
        found = evaluate(model, objective(batch), directions, grid(3, dims=1), engine="threads", threads=threads)
        np.testing.assert_allclose(found.losses, expected, rtol=1e-6)


def test_the_counter_ends_at_the_number_of_evaluations():
    model, batch = MODELS["tabular"]()
    job = Job(model, objective(batch), movable(model), random_directions(model, 2))
    counted = []
    run(Choice("threads", 256, 3), job, grid(5).coordinates, counted.append)
    assert sum(counted) == 50


def test_gradients_of_the_user_are_not_copied():
    model, batch = MODELS["tabular"]()
    loss_of(model, batch).backward()
    kept = [p.grad for p in model.parameters()]
    values = copy.deepcopy([g.clone() for g in kept])
    evaluate(model, objective(batch), random_directions(model, 2), grid(3), engine="threads", threads=2)
    assert all(p.grad is g and torch.equal(g, v) for p, g, v in zip(model.parameters(), kept, values, strict=True))
