"""SASP's closed form against gradients of the head, example by example."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.penalties import SASP, sasp, sasp_general


def head_gradients(head, features, targets, **options):
    """Slow reference: every position by itself through autograd."""
    squares = []
    rows = features.movedim(1, -1).reshape(-1, features.shape[1])
    hard = not targets.is_floating_point()
    wanted = targets.reshape(-1) if hard else targets.movedim(1, -1).reshape(len(rows), -1)
    for h, y in zip(rows, wanted, strict=True):
        loss = F.cross_entropy(head(h[None]), y[None], reduction="none", **options).sum()
        squares.append(sum(g.square().sum() for g in torch.autograd.grad(loss, list(head.parameters()))))
    counted = (wanted != options.get("ignore_index", -100)).sum() if hard else len(rows)
    return torch.stack(squares).sum() / counted


def problem(shape=(6,), classes=4, width=5, bias=True, seed=0):
    stream = torch.Generator().manual_seed(seed)
    head = nn.Linear(width, classes, bias=bias).double()
    features = torch.randn(shape[0], width, *shape[1:], generator=stream, dtype=torch.double)
    logits = head(features.movedim(1, -1)).movedim(-1, 1)
    return head, features, logits, torch.randint(classes, shape, generator=stream)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0, 0.0]).double()], ids=["even", "weighted"])
def test_is_the_mean_squared_gradient_of_the_head(bias, shape, label_smoothing, weight):
    head, features, logits, targets = problem(shape, bias=bias)
    options = {"label_smoothing": label_smoothing, "weight": weight}
    torch.testing.assert_close(
        sasp(logits, features, targets, bias=bias, **options), head_gradients(head, features, targets, **options)
    )


@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_ignored_positions_do_not_count(ignore_index):
    head, features, logits, targets = problem((3, 5))
    targets[0, 1:] = targets[2, 3] = ignore_index
    options = {"ignore_index": ignore_index, "label_smoothing": 0.2}
    found = sasp(logits, features, targets, **options)
    torch.testing.assert_close(found, head_gradients(head, features, targets, **options))


def test_what_stands_at_ignored_positions_reaches_neither_value_nor_gradient():
    _, features, logits, targets = problem((4, 3))
    targets[1] = -100
    kept = torch.arange(4) != 1
    clean = sasp(logits[kept], features[kept], targets[kept])
    logits, features = logits.detach().clone(), features.clone()
    logits[1, :2], logits[1, 2:], features[1] = torch.inf, torch.nan, 1e200
    logits.requires_grad_()
    features.requires_grad_()
    found = sasp(logits, features, targets)
    torch.testing.assert_close(found, clean.detach())
    found.backward()
    assert logits.grad.isfinite().all()
    assert features.grad.isfinite().all()
    assert not logits.grad[1].any()


def test_nothing_counted_is_nothing():
    _, features, logits, targets = problem()
    assert sasp(logits, features, torch.full_like(targets, -100)) == 0


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0, 0.1]).double()], ids=["even", "weighted"])
@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_soft_targets(weight, shape):
    head, features, logits, _ = problem(shape)
    targets = torch.rand_like(logits).softmax(1)
    options = {"weight": weight, "label_smoothing": 0.1}
    torch.testing.assert_close(
        sasp(logits, features, targets, **options), head_gradients(head, features, targets, **options)
    )


def test_soft_targets_of_one_class_are_hard_ones():
    _, features, logits, targets = problem()
    soft = F.one_hot(targets, 4).double()
    torch.testing.assert_close(sasp(logits, features, soft), sasp(logits, features, targets))


def test_general_form_agrees_to_the_published_tolerance_in_single_precision():
    torch.manual_seed(1)
    head, features, targets = nn.Linear(20, 7, bias=False), torch.randn(12, 20), torch.randint(7, (12,))
    general = sasp_general(lambda head, b: F.cross_entropy(head(b[0]), b[1]), head, (features, targets))
    torch.testing.assert_close(sasp(head(features), features, targets, bias=False), general, rtol=1e-4, atol=0)


@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 30), bias=st.booleans())
def test_properties(seed, scale, bias):
    _, features, logits, targets = problem(seed=seed)
    found = sasp(logits * scale, features, targets, bias=bias)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    # ‖p − y‖² ≤ 2 for any two distributions
    assert 0 <= found <= 2 * (features.square().sum(1) + bias).mean() + 1e-12
    torch.testing.assert_close(sasp(logits[order] * scale, features[order], targets[order], bias=bias), found)
    torch.testing.assert_close(sasp(logits * scale + 7.0, features, targets, bias=bias), found)
    without = sasp(logits * scale, features, targets, bias=False)
    torch.testing.assert_close(sasp(logits * scale, 3 * features, targets, bias=False), 9 * without)


def test_gradient_flows_into_logits_and_features():
    stream = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 4, generator=stream, dtype=torch.double, requires_grad=True)
    features = torch.randn(3, 2, generator=stream, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, h: sasp(z, h, torch.tensor([0, 3, 1])), (logits, features))


def test_a_large_feature_does_not_overflow_in_half_precision():
    features = torch.full((1, 2), 300.0, dtype=torch.float16)  # 300² is beyond half precision
    found = sasp(torch.zeros(1, 2, dtype=torch.float16), features, torch.tensor([0]), bias=False)
    assert found == 90_000
    assert found.dtype == torch.float32


def test_module_holds_the_options_and_its_weight_in_the_state():
    _, features, logits, targets = problem()
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    module = SASP(bias=False, weight=weight, ignore_index=1, label_smoothing=0.3)
    options = {"bias": False, "weight": weight, "ignore_index": 1, "label_smoothing": 0.3}
    assert torch.equal(module(logits, features, targets), sasp(logits, features, targets, **options))
    other = SASP(bias=False, weight=torch.ones(4), ignore_index=1, label_smoothing=0.3)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(logits, features, targets), module(logits, features, targets))


def test_errors_name_the_argument():
    _, features, logits, targets = problem()
    for wrong, match in [
        (lambda: sasp(logits[0], features, targets), "logits must be"),
        (lambda: sasp(logits, features[:3], targets), "features must be"),
        (lambda: sasp(logits, features, targets[:3]), "targets of class indices"),
        (lambda: sasp(logits, features, torch.zeros(6)), "targets of probabilities"),
        (lambda: sasp(logits, features, targets, weight=torch.ones(3)), "weight must hold one"),
        (lambda: sasp(logits, features, targets, label_smoothing=1.5), "label_smoothing"),
    ]:
        with pytest.raises(ValueError, match=match):
            wrong()
    with pytest.raises(TypeError, match="targets must be class indices"):
        sasp(logits, features, targets.bool())
