import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrscape.optim import curvature_aware_clip_


def gradients(*values):
    made = []
    for value in values:
        parameter = torch.zeros(len(value), requires_grad=True)
        parameter.grad = torch.tensor(value)
        made.append(parameter)
    return made


@given(st.floats(0, 1e6), st.floats(0.01, 10), st.floats(0.1, 20))
def test_against_the_published_code(curvature, max_norm, length):
    parameters = gradients([0.6 * length, 0.0], [0.8 * length])
    effective = max_norm / (1 + curvature / 1e4)
    before = [p.grad.clone() for p in parameters]
    norm = curvature_aware_clip_(parameters, curvature, max_norm)
    assert norm.item() == pytest.approx(length, rel=1e-5)
    scale = min(1.0, effective / length)
    for old, parameter in zip(before, parameters, strict=True):
        torch.testing.assert_close(parameter.grad, old * scale, rtol=1e-4, atol=1e-6)


def test_it_is_torchs_own_without_curvature_and_in_place():
    ours, theirs = gradients([3.0, 4.0]), gradients([3.0, 4.0])
    held = ours[0].grad
    norm = curvature_aware_clip_(ours, 0.0, 2.0, norm_type=math.inf)
    assert norm == torch.nn.utils.clip_grad_norm_(theirs, 2.0, norm_type=math.inf)
    assert ours[0].grad is held
    assert torch.equal(held, theirs[0].grad)


def test_at_the_edge_the_threshold_is_halved():
    parameters = gradients([3.0, 4.0])
    curvature_aware_clip_(parameters, 38.0, 1.0, reference=38.0)
    assert parameters[0].grad.norm().item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(("curvature", "norm"), [(-5.0, 1.0), (math.inf, 0.0), (math.nan, 0.0)])
def test_curvature_that_is_negative_or_not_finite(curvature, norm):
    parameters = gradients([3.0, 4.0])
    curvature_aware_clip_(parameters, curvature)
    assert parameters[0].grad.norm().item() == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(("options", "match"), [({"max_norm": -1.0}, "max_norm"), ({"reference": 0.0}, "reference")])
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        curvature_aware_clip_(gradients([1.0]), 1.0, **options)
