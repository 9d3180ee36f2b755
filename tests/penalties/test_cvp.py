"""Cautious decay: gate, penalty and what it does to gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.penalties import CVP, apply_cvp_, cvp, cvp_gate

PUBLISHED = {"sign": "published", "gate": "published"}


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def slow_gate(theta, g, beta, sign, gate):
    """Slow reference: number by number."""
    products = [a * b for a, b in zip(theta.tolist(), g.tolist(), strict=True)]
    rms = math.sqrt(sum(p * p for p in products) / len(products)) if gate == "relative" else 1.0
    direction = -1 if sign == "published" else 1
    return torch.tensor([sigmoid(direction * beta * p / rms) for p in products], dtype=torch.double)


@pytest.mark.parametrize("sign", ["cautious", "published"])
@pytest.mark.parametrize("gate", ["relative", "published"])
@pytest.mark.parametrize("beta", [0.5, 50.0])
def test_gate_follows_the_formula(sign, gate, beta):
    theta, g = torch.randn(2, 9, dtype=torch.double)
    found = cvp_gate(theta, g, beta=beta, sign=sign, gate=gate)
    torch.testing.assert_close(found, slow_gate(theta, g, beta, sign, gate))


@given(scale=st.floats(-30, 30), seed=st.integers(0, 10**6))
def test_the_corrected_gate_does_not_depend_on_scale_and_the_published_one_does(scale, seed):
    stream = torch.Generator().manual_seed(seed)
    theta, g = torch.randn(2, 9, generator=stream)
    factor = 10.0**scale
    torch.testing.assert_close(cvp_gate(theta, g * factor), cvp_gate(theta, g), rtol=1e-3, atol=1e-6)
    small = cvp_gate(theta, g * 1e-6, **PUBLISHED)
    assert (small - 0.5).abs().max() < 1e-3


@given(seed=st.integers(0, 10**6), beta=st.floats(0.1, 100))
def test_signs_are_each_others_complement(seed, beta):
    theta, g = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed))
    for gate in ("relative", "published"):
        both = [cvp_gate(theta, g, beta=beta, sign=sign, gate=gate) for sign in ("cautious", "published")]
        torch.testing.assert_close(both[0] + both[1], torch.ones(5))


def test_an_infinite_beta_is_the_mask_of_cautious_weight_decay():
    theta, g = torch.tensor([1.0, -1.0, 1.0, 2.0]), torch.tensor([3.0, -1e-20, -1.0, 0.0])
    assert cvp_gate(theta, g, beta=torch.inf).tolist() == [1, 1, 0, 1]
    assert cvp_gate(theta, g, beta=torch.inf, sign="published").tolist() == [0, 0, 1, 1]


def test_the_published_gate_on_a_network_is_half_strength_decay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    nn.functional.cross_entropy(model(torch.rand(64, 64)), torch.randint(10, (64,))).backward()
    published = torch.cat([cvp_gate(p, p.grad, **PUBLISHED).flatten() for p in model.parameters()])
    ours = torch.cat([cvp_gate(p, p.grad).flatten() for p in model.parameters()])
    assert published.mean() == pytest.approx(0.5, abs=1e-3)
    assert published.std() < 0.008
    assert ours.std() > 0.4


@pytest.mark.parametrize("options", [{}, PUBLISHED, {"beta": 2.0}], ids=str)
def test_penalty_and_in_place_form_agree(options):
    theta = [torch.randn(3, 2, dtype=torch.double, requires_grad=True), torch.randn(4, dtype=torch.double)]
    theta[1].requires_grad_()
    gradients = [torch.randn_like(t) for t in theta]
    penalty = cvp(theta, gradients, **options)
    gates = [cvp_gate(t, g, **options) for t, g in zip(theta, gradients, strict=True)]
    torch.testing.assert_close(penalty, sum((a * t**2).sum() for a, t in zip(gates, theta, strict=True)) / 2)
    slopes = torch.autograd.grad(penalty, theta)
    for t, g in zip(theta, gradients, strict=True):
        t.grad = g.clone()
    torch.testing.assert_close(cvp(theta, **options), penalty)
    apply_cvp_(theta, lam=0.3, **options)
    for t, g, slope in zip(theta, gradients, slopes, strict=True):
        torch.testing.assert_close(t.grad, g + 0.3 * slope)


def test_published_in_place_form():
    theta = torch.randn(6, requires_grad=True)
    g = theta.grad = torch.randn(6)
    wanted = g + 1e-2 * torch.sigmoid(-50 * theta * g).detach() * theta.detach()
    apply_cvp_([theta], **PUBLISHED)
    torch.testing.assert_close(theta.grad, wanted)


@given(seed=st.integers(0, 10**6))
def test_decay_by_the_hard_gate_never_works_against_the_gradient(seed):
    theta, g = torch.randn(2, 20, generator=torch.Generator().manual_seed(seed))
    decay = cvp_gate(theta, g, beta=torch.inf) * theta
    assert (decay * g >= 0).all()


def test_a_missing_gradient_is_an_error_and_changes_nothing():
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    frozen = torch.ones(2)
    for call in (lambda t: cvp(t), lambda t: apply_cvp_(t), lambda t: CVP()(t)):
        with pytest.raises(ValueError, match=r"call loss.backward\(\) before"):
            call([unused])
    used.grad = torch.ones(2)
    with pytest.raises(ValueError, match="1 of 2 parameters have no gradient, the first at place 1"):
        apply_cvp_([used, unused, frozen])
    assert used.grad.tolist() == [1, 1]
    apply_cvp_(iter([used, unused, frozen]), lam=1.0, beta=torch.inf, allow_unused=True)
    assert used.grad.tolist() == [2, 2]
    with pytest.raises(ValueError, match="have no gradient"):
        apply_cvp_([unused], allow_unused=True)
    with pytest.raises(ValueError, match="0 of 0"):
        cvp([])


def test_after_the_usual_zero_grad_there_is_no_gradient():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    assert cvp(model.parameters()) > 0
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="have no gradient"):
        cvp(model.parameters())


def test_gradients_of_other_kinds_or_shapes_are_refused():
    theta = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="dense and real"):
        cvp([theta], [torch.ones(2).to_sparse()])
    with pytest.raises(TypeError, match="dense and real"):
        cvp([theta], [torch.ones(2) * 1j])
    with pytest.raises(ValueError, match="their parameters' shapes"):
        cvp([theta], [torch.ones(3)])
    with pytest.raises(ValueError, match="one for each of the 1"):
        cvp([theta], [torch.ones(2)] * 2)
    for options, match in [({"beta": 0.0}, "beta"), ({"sign": "up"}, "sign must"), ({"gate": "wide"}, "gate must")]:
        with pytest.raises(ValueError, match=match):
            CVP(**options)([theta], [torch.ones(2)])


def test_half_precision_keeps_small_products():
    theta = torch.tensor([1e-3, -1e-3], dtype=torch.float16, requires_grad=True)
    theta.grad = torch.tensor([1e-6, 1e-6], dtype=torch.float16)
    assert cvp_gate(theta, theta.grad).round().tolist() == [1, 0]  # their product is 0 in half precision
    apply_cvp_([theta], lam=1.0)
    assert theta.grad.dtype == torch.float16
    assert theta.grad[0] > 9e-4


def test_empty_parameters_are_harmless():
    theta = torch.empty(0, requires_grad=True)
    assert cvp([theta], [torch.empty(0)]) == 0
