"""The exact trace against second derivatives by autograd, and what SASP has to do with it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lrscape.penalties import head_hessian_trace, sasp


def traced(theta, features, targets, **options):
    """Slow reference: the diagonal of the Hessian in weights and bias."""
    inputs = torch.cat([features, torch.ones_like(features[:, :1])], 1)  # a bias is a weight of 1

    def loss(theta):
        return F.cross_entropy(torch.einsum("nf...,cf->nc...", inputs, theta), targets, **options)

    hessian = torch.autograd.functional.hessian(loss, theta)
    return hessian.reshape(theta.numel(), -1).trace()


def problem(shape, seed=0, classes=3, width=4):
    stream = torch.Generator().manual_seed(seed)
    features = torch.randn(shape[0], width, *shape[1:], generator=stream, dtype=torch.double)
    theta = torch.randn(classes, width + 1, generator=stream, dtype=torch.double)
    bias = theta[:, -1].reshape(1, -1, *[1] * (len(shape) - 1))
    logits = torch.einsum("nf...,cf->nc...", features, theta[:, :-1]) + bias
    return theta, features, logits, torch.randint(classes, shape, generator=stream)


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0]).double()], ids=["even", "weighted"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_is_the_trace_of_the_hessian_of_torchs_mean_loss(shape, weight, label_smoothing, soft):
    theta, features, logits, targets = problem(shape)
    if soft:
        targets = torch.rand(logits.shape, dtype=torch.double).softmax(1)
    else:
        targets[0] = -100
    options = {"weight": weight, "label_smoothing": label_smoothing}
    torch.testing.assert_close(
        head_hessian_trace(logits, features, targets, **options), traced(theta, features, targets, **options)
    )


def test_targets_do_not_matter_without_weights():
    _, features, logits, targets = problem((5,))
    torch.testing.assert_close(head_hessian_trace(logits, features), head_hessian_trace(logits, features, targets))


@pytest.mark.parametrize("weight", [None, torch.ones(3)], ids=["even", "weighted"])
def test_nothing_counted_is_nothing(weight):
    _, features, logits, targets = problem((5,))
    assert head_hessian_trace(logits, features, torch.full_like(targets, -100), weight=weight) == 0


def test_sasp_bounds_it_from_neither_side():
    features = torch.ones(1, 1, dtype=torch.double)
    certain = torch.tensor([[20.0, -20.0]], dtype=torch.double)
    unsure = torch.zeros(1, 2, dtype=torch.double).sub(torch.tensor([[0.5, 0.0]]))
    right, wrong = torch.tensor([0]), torch.tensor([1])
    assert sasp(certain, features, wrong) > 1e6 * head_hessian_trace(certain, features)
    assert sasp(-unsure, features, right) < 0.65 * head_hessian_trace(unsure, features)


@given(seed=st.integers(0, 10**6))
def test_the_mean_of_sasp_over_labels_drawn_from_the_model_is_the_trace(seed):
    _, features, logits, _ = problem((1,), seed)
    drawn = [sasp(logits, features, torch.tensor([label])) for label in range(3)]
    expected = (logits.softmax(1)[0] * torch.stack(drawn)).sum()
    torch.testing.assert_close(expected, head_hessian_trace(logits, features))


def test_weights_need_targets():
    _, features, logits, _ = problem((5,))
    with pytest.raises(ValueError, match="targets are needed"):
        head_hessian_trace(logits, features, weight=torch.ones(3))


def test_is_differentiable():
    _, features, logits, targets = problem((3,))
    arguments = (logits.requires_grad_(), features.requires_grad_())
    assert torch.autograd.gradcheck(lambda z, h: head_hessian_trace(z, h, targets), arguments)
