"""The induced-metric optimizers: published steps, closed forms and bounds."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from regression import loss_of, network, train

from lrscape.optim import InducedMetricLog, InducedMetricRMS, InducedMetricSGD

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "induced_metric.json").read_text(encoding="utf-8"))
PUBLISHED = {
    "CustomSGD": InducedMetricSGD,
    "CustomSGDLog": InducedMetricLog,
    "CustomSGDRMS": InducedMetricRMS,
}
EMBEDDINGS = ["identity", "log", "sqrt"]
PLAIN = {"momentum": 0.0, "beta": 0.0}


def slopes(embedding, loss):
    return {"identity": 1.0, "log": 1 / loss, "sqrt": 0.5 / math.sqrt(loss)}[embedding]


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_steps(name, foreach):
    p = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    optimizer = PUBLISHED[name]([p], weight_decay=0.01, foreach=foreach)
    assert len(REFERENCE[name]) == 5
    for expected in REFERENCE[name]:
        optimizer.zero_grad()
        loss = p[0] ** 2 + 4 * p[1] ** 2 + 0.5 * p[2] ** 2 + 1
        loss.backward()
        optimizer.step(loss=loss)
        torch.testing.assert_close(p.detach(), torch.tensor(expected), rtol=0, atol=1e-6)


def reference(model, steps, options, rates, rms, embedding):
    """The formulas as they are written down, tensor by tensor."""
    m, xi, b, br, wd, eps = options
    groups = [list(model[0].parameters()), list(model[2].parameters())]
    buf = {p: torch.zeros_like(p) for g in groups for p in g}
    v = {p: torch.zeros_like(p) for g in groups for p in g}
    s = 0.0
    for k in range(1, steps + 1):
        loss = loss_of(model)
        grads = dict(zip(buf, torch.autograd.grad(loss, list(buf)), strict=True))
        for p, g in grads.items():
            buf[p] = m * buf[p] + (1 - m) * g
            v[p] = br * v[p] + (1 - br) * g**2
        d = {p: (v[p] / (1 - br**k)).sqrt() + eps if rms else torch.ones_like(p) for p in buf}
        s = b * s + (1 - b) * xi * float(sum((g**2 / d[p]).sum() for p, g in grads.items()))
        f = slopes(embedding, loss.item())
        c = f / (1 + f**2 * s / (1 - b**k))
        with torch.no_grad():
            for group, rate in zip(groups, rates, strict=True):
                for p in group:
                    p.copy_((1 - rate * wd) * p - rate * c * buf[p] / (1 - m**k) / d[p])


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("rms", [False, True])
def test_they_follow_their_formulas_over_groups(rms, embedding, foreach):
    model, twin = network(), network()
    groups = [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[2].parameters(), "lr": 0.05}]
    options = {"momentum": 0.7, "xi": 3.0, "beta": 0.6, "weight_decay": 0.1, "embedding": embedding}
    kind = InducedMetricRMS if rms else InducedMetricSGD
    optimizer = kind(groups, foreach=foreach, **options, **({"beta_rms": 0.9, "eps": 1e-3} if rms else {}))
    train(model, optimizer, 7)
    reference(twin, 7, (0.7, 3.0, 0.6, 0.9, 0.1, 1e-3), [0.2, 0.05], rms, embedding)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_without_a_metric_rms_is_adamw():
    model, twin = network(), network()
    train(model, InducedMetricRMS(model.parameters(), 0.01, 0.8, xi=0.0, beta_rms=0.95, weight_decay=0.1), 10)
    adam = torch.optim.AdamW(twin.parameters(), 0.01, betas=(0.8, 0.95), weight_decay=0.1)
    for _ in range(10):
        adam.zero_grad()
        loss_of(twin).backward()
        adam.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


VECTORS = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5)
RATE, XI, LOSS = st.floats(1e-3, 10), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@given(VECTORS, RATE, XI, LOSS)
def test_no_step_is_longer_than_its_bound(embedding, gradient, rate, xi, loss):
    p = torch.zeros(len(gradient), dtype=torch.float64, requires_grad=True)
    p.grad = torch.tensor(gradient, dtype=torch.float64)
    InducedMetricSGD([p], rate, xi=xi, embedding=embedding, **PLAIN).step(loss=loss)
    assert p.detach().norm() <= rate / (2 * math.sqrt(xi)) * (1 + 1e-12)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@given(VECTORS, VECTORS, RATE, XI, LOSS, st.floats(0, 0.99))
def test_nor_a_preconditioned_one_in_its_own_norm(embedding, first, second, rate, xi, loss, share):
    size = min(len(first), len(second))
    p = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = InducedMetricRMS([p], rate, xi=xi, beta_rms=share, embedding=embedding, **PLAIN)
    v = torch.zeros(size, dtype=torch.float64)
    for k, gradient in enumerate((first, second), 1):
        before = p.detach().clone()
        p.grad = torch.tensor(gradient[:size], dtype=torch.float64)
        v = share * v + (1 - share) * p.grad**2
        optimizer.step(loss=loss)
        step = p.detach() - before
        length = ((v / (1 - share**k)).sqrt() + 1e-8).mul(step**2).sum().sqrt()
        # What is subtracted from p again has lost its digits where p has become large.
        assert length <= rate / (2 * math.sqrt(xi)) * (1 + 1e-9) + 1e-9 * before.norm()


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@given(RATE, XI, LOSS, st.integers(1, 6))
def test_the_bound_is_reached(embedding, rate, xi, loss, size):
    length = 1 / (slopes(embedding, loss) * math.sqrt(xi))
    p = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    p.grad = torch.full((size,), length / math.sqrt(size), dtype=torch.float64)
    InducedMetricSGD([p], rate, xi=xi, embedding=embedding, **PLAIN).step(loss=loss)
    assert p.detach().norm().item() == pytest.approx(rate / (2 * math.sqrt(xi)), rel=1e-12)


def test_steps_over_the_size_of_the_gradient():
    for gradient, expected in ((1.0, 0.90909), (3.1623, 1.58114), (10.0, 0.90909), (1e4, 0.001)):
        p = torch.zeros(1, requires_grad=True)
        p.grad = torch.tensor([gradient])
        InducedMetricSGD([p], 1.0, xi=0.1, **PLAIN).step()
        assert -p.item() == pytest.approx(expected, abs=5e-6)


@given(st.floats(0.1, 10), st.floats(0.01, 10))
def test_the_logarithm_takes_larger_steps_the_closer_it_gets(x, xi):
    factors = []
    for point in (x, x / 2):
        p = torch.tensor([point], dtype=torch.float64, requires_grad=True)
        loss = p.square().sum() / 2
        loss.backward()
        InducedMetricLog([p], 1.0, xi=xi, **PLAIN).step(loss=loss)
        factors.append((point - p.item()) / point)
        assert factors[-1] == pytest.approx(1 / (point**2 / 2 + 2 * xi), rel=1e-9)
    assert factors[1] > factors[0]


def test_every_group_may_have_a_metric_of_its_own_scale():
    p, q = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = InducedMetricSGD([{"params": [p], "xi": 0.5}, {"params": [q], "xi": 0.0}], 1.0, **PLAIN)
    p.grad, q.grad = torch.ones_like(p), torch.full_like(q, 100.0)
    optimizer.step()
    assert (p.item(), q.item()) == (pytest.approx(-1 / 1.5), pytest.approx(-100 / 1.5))


@pytest.mark.parametrize("kind", [InducedMetricSGD, InducedMetricRMS])
@pytest.mark.parametrize("copies", [10, 1000])
def test_per_parameter_makes_the_metric_independent_of_size(kind, copies):
    found = []
    for size in (1, copies):
        p = torch.ones(size, dtype=torch.float64, requires_grad=True)
        optimizer = kind([p], 0.05, xi=2.0, per_parameter=True)
        for _ in range(4):
            p.grad = 3 * p.detach()
            optimizer.step()
        found.append(p[0].item())
    assert found[0] == pytest.approx(found[1], rel=1e-12)
