"""The induced-metric optimizers are optimizers of torch's: groups, closures, scalers, states, refusals."""

import copy
import io
import pickle

import pytest
import torch
from regression import loss_of, network, train
from torch import nn

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD, Steered
from lrscape.schedulers import TopoLR

KINDS = [InducedMetricSGD, InducedMetricLog, InducedMetricRMS]
PLAIN = {"momentum": 0.0, "beta": 0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_maximizing_is_minimizing_upside_down(kind):
    up, down = network(), network()
    climbing = kind(up.parameters(), 0.05, maximize=True)
    descending = kind(down.parameters(), 0.05)
    for _ in range(5):
        for model, optimizer, sign in ((up, climbing, -1), (down, descending, 1)):
            optimizer.zero_grad()
            loss = loss_of(model)
            (sign * loss).backward()
            optimizer.step(loss=loss)
    for a, b in zip(up.parameters(), down.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_equal_options_are_as_one(kind):
    one, two = network(), network()
    train(one, kind(one.parameters(), 0.05), 6)
    train(two, kind([{"params": two[0].parameters()}, {"params": two[2].parameters()}], 0.05), 6)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_closure_gives_gradients_and_loss():
    model, twin = network(), network()
    optimizer = InducedMetricLog(model.parameters(), 0.05)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses == train(twin, InducedMetricLog(twin.parameters(), 0.05), 5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_grad_scaler_drives_them(kind):
    model, twin = network(torch.float32), network(torch.float32)
    optimizer = kind(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1000)
    taken = 0
    while taken < 6:
        optimizer.zero_grad()
        loss = loss_of(model)
        scaler.scale(loss).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer, loss=loss)
        scaler.update()
        taken += scaler.get_scale() == scale
    assert optimizer.metric_steps == 6  # steps that were skipped are none
    train(twin, kind(twin.parameters(), 0.05), 6)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [None, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("embedding", ["log", "sqrt"])
def test_a_loss_that_is_missing_or_has_no_logarithm_changes_nothing(embedding, loss):
    model = network()
    optimizer = InducedMetricSGD(model.parameters(), 0.05, embedding=embedding)
    train(model, optimizer, 2)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    with pytest.raises(ValueError, match="needs the loss of each step" if loss is None else "not negative, got"):
        optimizer.step(loss=loss)
    assert str(before) == str((model.state_dict(), optimizer.state_dict()))


def test_a_loss_of_zero_is_the_end():
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.zeros(2)
    InducedMetricLog([p], 1.0, **PLAIN).step(loss=0.0)
    assert p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("wrong", ["0.5", torch.ones(2), 1j])
def test_a_loss_must_be_one_number(wrong):
    p = torch.ones(2, requires_grad=True)
    with pytest.raises((TypeError, ValueError), match="loss must be"):
        InducedMetricLog([p]).step(loss=wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_complex_and_sparse_are_refused(kind):
    with pytest.raises(TypeError, match=r"needs real parameters, got torch\.complex64"):
        kind([torch.zeros(2, dtype=torch.complex64, requires_grad=True)])
    embedding, p = nn.Embedding(4, 2, sparse=True), torch.ones(2, requires_grad=True)
    optimizer = kind([{"params": [p]}, {"params": embedding.parameters()}])
    (embedding(torch.tensor([1])).sum() + p.sum()).backward()
    with pytest.raises(TypeError, match="needs dense gradients, got a sparse one"):
        optimizer.step(loss=1.0)
    assert p.tolist() == [1.0, 1.0]
    assert not optimizer.state
    optimizer = kind([p])
    with pytest.raises(TypeError, match="complex"):
        optimizer.add_param_group({"params": [torch.zeros(1, dtype=torch.complex64, requires_grad=True)]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": -1.0}, "lr must be"),
        ({"lr": torch.tensor(float("nan"))}, "lr must be"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"xi": -0.1}, "xi must be"),
        ({"beta": 1.0}, "beta must be"),
        ({"beta_rms": -1.0}, "beta_rms must be"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"embedding": "cube"}, "embedding must be one of identity, log, sqrt"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        InducedMetricRMS([torch.zeros(1)], **options)


def test_groups_share_one_metric():
    with pytest.raises(ValueError, match="beta cannot differ between groups"):
        InducedMetricSGD([{"params": [torch.zeros(1)], "beta": 0.5}])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_run_continues_bitwise(kind):
    whole, half, resumed = network(), network(), network()
    expected = train(whole, kind(whole.parameters(), 0.05), 11)
    optimizer = kind(half.parameters(), 0.05)
    train(half, optimizer, 5)
    file = io.BytesIO()
    torch.save([half.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    resumed.load_state_dict(weights)
    optimizer = kind(resumed.parameters(), 0.05)
    optimizer.load_state_dict(state)
    assert train(resumed, optimizer, 6) == expected[5:]
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="metric missing"):
        optimizer.load_state_dict(torch.optim.SGD(resumed.parameters(), 0.1).state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("kind", [InducedMetricLog, InducedMetricRMS])
def test_copies_go_on_by_themselves(kind, duplicate):
    model = network()
    optimizer = kind(model.parameters(), 0.05)
    train(model, optimizer, 3)
    twin, other = duplicate((model, optimizer))
    assert train(twin, other, 4) == train(model, optimizer, 4)
    assert other.metric_average is not optimizer.metric_average


@pytest.mark.parametrize("kind", KINDS)
def test_tensor_rates_and_torchs_schedulers(kind):
    model, twin = network(), network()
    rate = torch.tensor(0.05, dtype=torch.float64)
    optimizer, plain = kind(model.parameters(), rate), kind(twin.parameters(), 0.05)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(one, 0.5) for one in (optimizer, plain)]
    for _ in range(4):
        train(model, optimizer, 1)
        train(twin, plain, 1)
        for schedule in schedules:
            schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [InducedMetricSGD, InducedMetricRMS])
def test_parameters_that_join_later_have_an_average_of_their_own(kind):
    p, q = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = kind([p], 1.0, 0.5, xi=0.0)
    for _ in range(3):
        p.grad = torch.ones_like(p)
        optimizer.step()
    optimizer.add_param_group({"params": [q]})
    p.grad, q.grad = None, torch.full_like(q, 2.0)
    before = p.item()
    optimizer.step()
    assert p.item() == before  # no gradient, no step
    assert -q.item() == pytest.approx(2.0 if kind is InducedMetricSGD else 1.0, rel=1e-6)


def test_without_gradients_nothing_happens():
    p = torch.ones(1, requires_grad=True)
    optimizer = InducedMetricSGD([p], weight_decay=0.1)
    assert optimizer.step() is None
    assert p.item() == 1.0
    assert optimizer.metric_steps == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    p = torch.zeros(4, dtype=dtype, requires_grad=True)
    p.grad = torch.full((4,), 4000.0, dtype=dtype)  # its square is beyond float16
    optimizer = InducedMetricSGD([p], 1000.0, xi=1e-6, **PLAIN)
    optimizer.step()
    assert p.dtype == dtype
    assert p.tolist() == pytest.approx([-4e6 / (1 + 64)] * 4, rel=1e-2)


def test_one_optimizer_holds_several_precisions():
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    q = torch.zeros(2, dtype=torch.float32, requires_grad=True)
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    InducedMetricSGD([p, q], 1.0, xi=1.0, **PLAIN).step()
    assert (p.tolist(), q.tolist()) == ([pytest.approx(-0.2)] * 2, [pytest.approx(-0.2)] * 2)


class TopoMetric(Steered, InducedMetricRMS):
    def __init__(self, params, model, **options):
        super().__init__(params, **options)
        self.steer(model, lambda groups: TopoLR(groups, model, interval=2, warmup=1))


def test_a_landscape_steers_them():
    model = network()
    optimizer = TopoMetric(model.parameters(), model, lr=0.05)
    for _ in range(6):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        optimizer.probe(lambda: loss_of(model))
    assert [decision.step for decision in optimizer.history] == [2, 4, 6]
    _, twin = copy.deepcopy((model, optimizer))
    assert twin.factors == optimizer.factors
    twin.load_state_dict(optimizer.state_dict())
    assert twin.metric_steps == 6
