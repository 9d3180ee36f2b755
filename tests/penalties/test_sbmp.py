"""Consistency under noise: the divergence and the noise."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.penalties import SBMP, sbmp, sign_noise


def slow(logits, perturbed):
    """Slow reference: divergences position by position, from probabilities."""
    p, q = (values.movedim(1, -1).reshape(-1, values.shape[1]).softmax(1) for values in (logits, perturbed))
    return torch.stack([((a - b) * (a / b).log()).sum() / 2 for a, b in zip(p, q, strict=True)]).mean()


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 2, 2)])
def test_follows_the_formula(shape):
    logits, perturbed = torch.randn(2, *shape, dtype=torch.double)
    torch.testing.assert_close(sbmp(logits, perturbed), slow(logits, perturbed))


@given(seed=st.integers(0, 10**6), scale=st.floats(0, 20))
def test_is_symmetric_not_negative_and_blind_to_shifts(seed, scale):
    logits, perturbed = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.double) * scale
    found = sbmp(logits, perturbed)
    assert found >= -1e-12
    torch.testing.assert_close(sbmp(perturbed, logits), found)
    torch.testing.assert_close(sbmp(logits + 3.0, perturbed), found)
    assert sbmp(logits, logits.clone()).abs() < 1e-12


def test_gradients_pull_each_prediction_to_the_other_held_still():
    logits, perturbed = (torch.randn(1, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    sbmp(logits, perturbed).backward()
    p, q = logits.detach().softmax(1), perturbed.detach().softmax(1)
    torch.testing.assert_close(logits.grad, (p - q) / 2)  # of the cross-entropy of q against p
    torch.testing.assert_close(perturbed.grad, (q - p) / 2)


def test_classes_masked_by_minus_infinity_add_nothing():
    logits, perturbed = torch.randn(2, 4, 3, dtype=torch.double)
    masked = [torch.cat([values, torch.full((4, 1), -torch.inf)], 1).requires_grad_() for values in (logits, perturbed)]
    found = sbmp(*masked)
    torch.testing.assert_close(found, sbmp(logits, perturbed))
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found, masked))


def test_positions_that_do_not_count():
    logits, perturbed = torch.randn(2, 2, 3, 4, dtype=torch.double)
    counted = torch.rand(2, 4) < 0.5
    kept = [values.movedim(1, -1)[counted] for values in (logits, perturbed)]
    logits[0, :, ~counted[0]] = torch.nan
    torch.testing.assert_close(sbmp(logits, perturbed, counted), slow(*kept))
    assert sbmp(logits, perturbed, torch.zeros(2, 4)) == 0


@pytest.mark.parametrize(("shape", "size"), [((4, 9), 9), ((4, 5, 3), 15), ((2, 3, 4, 4), 48)])
def test_noise_has_one_size_and_norm_alpha(shape, size):
    noise = sign_noise(torch.zeros(shape, dtype=torch.double), alpha=5.0)
    torch.testing.assert_close(noise.abs(), torch.full(shape, 5 / math.sqrt(size), dtype=torch.double))
    torch.testing.assert_close(noise.flatten(1).norm(dim=1), torch.full(shape[:1], 5.0, dtype=torch.double))


def test_signs_are_even_and_follow_the_generator():
    zeros = torch.zeros(100, 100)
    draws = [sign_noise(zeros, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert abs((draws[0] > 0).double().mean() - 0.5) < 0.025  # five standard errors
    state = torch.random.get_rng_state()
    sign_noise(zeros, generator=torch.Generator())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_padding_gets_no_noise_and_does_not_count_as_length():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    noise = sign_noise(torch.zeros(3, 4, 8), alpha=2.0, mask=mask)
    assert not noise[mask == 0].any()
    torch.testing.assert_close(noise.flatten(1).norm(dim=1), torch.tensor([2.0, 2.0, 0.0]))


def test_module_perturbs_and_compares():
    head = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    embeddings = torch.randn(5, 4, 3, requires_grad=True)
    streams = [torch.Generator().manual_seed(1) for _ in range(2)]
    found = SBMP(alpha=2.0)(head, embeddings, generator=streams[0])
    wanted = sbmp(head(embeddings), head(sign_noise(embeddings, 2.0, generator=streams[1])))
    assert torch.equal(found, wanted)
    given_logits = SBMP(alpha=2.0)(head, embeddings, head(embeddings), generator=torch.Generator().manual_seed(1))
    assert torch.equal(given_logits, wanted)
    found.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in head.parameters())
    assert SBMP(alpha=0.0)(head, embeddings).item() == pytest.approx(0, abs=1e-7)


def test_module_ignores_positions_of_targets():
    table = nn.Linear(3, 4)
    head = lambda e: table(e).transpose(1, 2)  # noqa: E731
    embeddings, targets = torch.randn(2, 5, 3), torch.randint(4, (2, 5))
    targets[0, 3:] = targets[1, 1:] = -1
    found = SBMP(ignore_index=-1)(head, embeddings, targets=targets, generator=torch.Generator().manual_seed(2))
    moved = sign_noise(embeddings, generator=torch.Generator().manual_seed(2))
    kept = targets != -1
    wanted = sbmp(table(embeddings)[kept], table(moved)[kept])
    torch.testing.assert_close(found, wanted)
    soft = F.one_hot(targets.clamp_min(0), 4).double().transpose(1, 2)
    whole = SBMP()(head, embeddings, targets=soft, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(whole, sbmp(head(embeddings), head(moved)))


def test_errors_name_the_argument():
    two = torch.zeros(2, 3)
    for wrong, match in [
        (lambda: SBMP(alpha=-1), "alpha must"),
        (lambda: sign_noise(two, -1.0), "alpha must"),
        (lambda: sign_noise(torch.zeros(3)), "embeddings must"),
        (lambda: sign_noise(torch.zeros(3, 2, dtype=torch.long)), "embeddings must"),
        (lambda: sign_noise(two, mask=torch.ones(2, 3)), "mask must"),
        (lambda: sbmp(two, torch.zeros(2, 4)), "perturbed must"),
        (lambda: sbmp(two, two, torch.ones(3)), "counted must"),
    ]:
        with pytest.raises(ValueError, match=match):
            wrong()
