"""The induced metric's factor on the rates of any optimizer."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from regression import loss_of, network
from torch import nn
from torch.optim import lr_scheduler as torchs

from lrscape.optim import InducedMetricSGD
from lrscape.schedulers import InducedMetricLR
from lrscape.schedulers.induced_metric import metric_factor
from lrscape.schedulers.squared_norm import squared_norm
from lrscape.testing import CASES, SCHEDULER_CHECKS

EMBEDDINGS = ["identity", "log", "sqrt"]


def groups_of(model):
    return [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[2].parameters(), "lr": 0.05}]


@pytest.mark.parametrize("per_parameter", [False, True])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_with_plain_sgd_it_is_the_optimizer(embedding, per_parameter):
    options = {"xi": 2.0, "beta": 0.6, "embedding": embedding, "per_parameter": per_parameter}
    model, twin = network(), network()
    optimizer = torch.optim.SGD(groups_of(model))
    scheduler = InducedMetricLR(optimizer, **options)
    other = InducedMetricSGD(groups_of(twin), momentum=0.0, **options)
    for _ in range(8):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        scheduler.use_loss(loss)
        optimizer.step()
        scheduler.step()
        other.zero_grad()
        loss = loss_of(twin)
        loss.backward()
        other.step(loss=loss)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_the_step_that_has_the_gradient_takes_its_factor():
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([p], lr=0.1)
    scheduler = InducedMetricLR(optimizer, xi=0.5, beta=0.8, inner=torchs.ExponentialLR(optimizer, 0.9))
    taken, average = [], 0.0
    optimizer.register_step_post_hook(lambda *_: taken.append(optimizer.param_groups[0]["lr"]))
    for k, size in enumerate((1.0, 10.0, 0.0, 3.0), 1):
        p.grad = torch.tensor([size, 0.0], dtype=torch.float64)
        optimizer.step()
        average = 0.8 * average + 0.2 * 0.5 * size**2
        expected = 0.1 * 0.9 ** (k - 1) / (1 + average / (1 - 0.8**k))
        assert taken[-1] == pytest.approx(expected, rel=1e-12)
        assert scheduler.history[-1].measurement == {"squared_gradient": size**2}
        assert scheduler.history[-1].rates == [taken[-1]]
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.9 * expected, rel=1e-12)


# Left out: those that want optimizer steps to leave the factor alone; what they are about is tested below.
AUTOMATIC = [name for name in SCHEDULER_CHECKS if name not in {"due", "harmless", "history", "not_finite"}]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", AUTOMATIC)
def test_contract_where_it_is_automatic(check, case):
    def make(optimizer, model, **options):
        return InducedMetricLR(optimizer, **options)

    SCHEDULER_CHECKS[check](make, case)


def start(**options):
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=1.0)
    return p, optimizer, InducedMetricLR(optimizer, **options)


def test_it_measures_every_interval_after_the_warmup():
    p, optimizer, scheduler = start(interval=3, warmup=4)
    for _ in range(13):
        p.grad = torch.ones_like(p)
        optimizer.step()
        scheduler.step()
        assert not scheduler.due()
        assert scheduler.probe(lambda: p.sum()) is None
    assert [decision.step for decision in scheduler.history] == [5, 8, 11]  # before steps 6, 9 and 12


def test_accumulated_gradients_and_steps_of_the_scheduler_count_once():
    p, optimizer, scheduler = start(beta=0.0)
    optimizer.step()
    for _ in range(3):
        p.grad = None
        for _ in range(4):
            (p.sum() / 4 * 2).backward()
            scheduler.step()
        optimizer.step()
    assert [decision.measurement["squared_gradient"] for decision in scheduler.history] == [4.0] * 3
    assert scheduler.factors == [1 / 1.4]


def test_clipping_and_unscaling_come_first():
    p, optimizer, scheduler = start()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale(30 * p.sum()).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_([p], 5.0)
    scaler.step(optimizer)
    assert scheduler.history[0].measurement["squared_gradient"] == pytest.approx(25.0, rel=1e-5)
    p.grad = torch.full_like(p, math.inf)
    scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    assert len(scheduler.history) == 1  # a step that is skipped is none


def test_fused_optimizers_that_unscale_within_their_step():
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.AdamW([p], lr=0.1, fused=True)
    scheduler = InducedMetricLR(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for size, seen in ((30.0, 1), (math.inf, 1), (3.0, 2)):
        optimizer.zero_grad()
        scaler.scale(size * p.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert len(scheduler.history) == seen
    found = [decision.measurement["squared_gradient"] for decision in scheduler.history]
    assert found == pytest.approx([900.0, 9.0])


def test_without_gradients_nothing_happens():
    _, optimizer, scheduler = start()
    optimizer.step()
    assert not len(scheduler.history)
    with pytest.raises(ValueError, match="between backward"):
        scheduler.measure(lambda: torch.tensor(1.0))


@pytest.mark.parametrize("embedding", ["log", "sqrt"])
def test_a_loss_is_good_for_one_step(embedding):
    p, optimizer, scheduler = start(embedding=embedding)
    p.grad = torch.ones_like(p)
    with pytest.raises(ValueError, match="use_loss"):
        optimizer.step()
    assert p.item() == 0.0
    scheduler.use_loss(2.0)
    optimizer.step()
    assert p.item() == pytest.approx(-metric_factor(0.1, embedding, 2.0))
    assert scheduler.history[0].measurement == {"squared_gradient": 1.0, "loss": 2.0}
    with pytest.raises(ValueError, match="use_loss"):
        optimizer.step()
    scheduler.use_loss(torch.tensor(-1.0))
    with pytest.raises(ValueError, match=r"not negative, got -1\.0"):
        optimizer.step()
    assert len(scheduler.history) == 1


@pytest.mark.parametrize("embedding", ["log", "sqrt"])
def test_what_fails_at_a_step_is_skipped_on_request(embedding):
    p, optimizer, scheduler = start(embedding=embedding, on_error="skip")
    weights = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for loss in (2.0, None, -1.0, "high", torch.ones(2), 3.0):
            p.grad = torch.ones_like(p)
            before, rate = p.item(), optimizer.param_groups[0]["lr"]
            if loss is not None:
                scheduler.use_loss(loss)
            optimizer.step()
            weights.append(before - p.item())
            if scheduler.history[-1].reason == "skipped":
                assert scheduler.history[-1].measurement == {}
                assert weights[-1] == pytest.approx(rate)
            scheduler.step()
    told = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    assert len(told) == 1
    assert told[0].startswith("InducedMetricLR could not measure at step 1 (ValueError: ")
    assert "use_loss" in told[0]
    assert [decision.reason for decision in scheduler.history] == ["metric", *["skipped"] * 4, "metric"]
    expected = [metric_factor(0.1, embedding, loss) for loss in (2.0, 3.0)]
    assert weights == pytest.approx([expected[0]] * 5 + expected[1:])


def test_gradients_that_are_not_finite_slow_down():
    p, optimizer, scheduler = start(beta=0.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in (1.0, math.nan, math.inf):
            p.grad = torch.full_like(p, size)
            optimizer.step()
    assert len([w for w in caught if w.category is RuntimeWarning]) == 1
    assert scheduler.factors == [pytest.approx(0.64 / 1.1)]
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert scheduler.factors == [pytest.approx(1 / 1.1)]


def test_outside_of_its_turn_it_waits():
    p, optimizer, scheduler = start()
    parts = [torchs.LambdaLR(optimizer, lambda t: 0.5), scheduler, torchs.LambdaLR(optimizer, lambda t: 0.25)]
    chain = torchs.SequentialLR(optimizer, parts, milestones=[2, 4])
    rates = []
    optimizer.register_step_post_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    for _ in range(6):
        p.grad = torch.ones_like(p)
        optimizer.step()
        chain.step()
    assert rates == pytest.approx([0.5, 0.5, 1 / 1.1, 1 / 1.1, 0.25, 0.25])


def test_by_hand():
    p, optimizer, scheduler = start(automatic=False, beta=0.0, embedding="log")
    p.grad = torch.full_like(p, 3.0)
    optimizer.step()
    assert p.item() == -3.0
    decision = scheduler.probe(lambda: torch.tensor(2.0))
    assert decision.measurement == {"squared_gradient": 9.0, "loss": 2.0}
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2 / (4 + 0.9))


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    scheduler = InducedMetricLR(optimizer)
    F.embedding(torch.tensor([1]), embedding.weight, sparse=True).sum().backward()
    with pytest.raises(TypeError, match="dense"):
        optimizer.step()
    assert not len(scheduler.history)


def test_sparse_gradients_are_skipped_on_request():
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    scheduler = InducedMetricLR(optimizer, on_error="skip")
    before = embedding.weight.detach().clone()
    embedding(torch.tensor([1])).sum().backward()
    with pytest.warns(RuntimeWarning, match="dense"):
        optimizer.step()
    scheduler.step()
    assert torch.equal(embedding.weight[1], before[1] - 0.1)  # the step is taken, at the old rate
    assert scheduler.get_last_lr() == [0.1]
    assert [decision.reason for decision in scheduler.history] == ["skipped"]


@pytest.mark.parametrize(
    ("options", "match"),
    [({"xi": -1.0}, "xi must be"), ({"beta": 1.0}, "beta must be"), ({"embedding": "cube"}, "embedding must be")],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        start(**options)


def test_the_factor_needs_its_loss():
    with pytest.raises(ValueError, match="needs the loss"):
        metric_factor(1.0, "log")
    assert metric_factor(1.0, "sqrt", 0.0) == 0.0
    assert metric_factor(0.0, "log", 1e-200) == pytest.approx(1e200)


def test_squares_add_up_over_dtypes_and_do_not_overflow():
    tensors = [torch.full((3,), 300.0, dtype=torch.float16), torch.ones(2, 2), torch.ones(1, dtype=torch.float64)]
    assert squared_norm(tensors).item() == pytest.approx(270005.0, rel=1e-7)
    assert squared_norm(tensors).dtype == torch.float64
