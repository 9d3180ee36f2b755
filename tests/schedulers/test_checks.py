"""Bounds and options are checked where they are given, and named."""

import numpy as np
import pytest
import torch
from torch import nn

from lrscape.schedulers import PerLayerTopoLR, RiverLR, TopoCNNLR, TopoLR


def two_groups():
    return torch.optim.SGD([{"params": [torch.zeros(1)]} for _ in range(2)], lr=0.1)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        *[(kind(1), [1.0, 1.0]) for kind in (int, float, np.float32, np.float64, np.int64, np.array, torch.tensor)],
        *[(kind([0.5, 0.25]), [0.5, 0.25]) for kind in (list, tuple, iter, np.array, torch.tensor)],
        ([np.float32(0.5), torch.tensor(0.25)], [0.5, 0.25]),
    ],
)
def test_a_bound_is_a_number_of_any_kind_or_one_per_group(bound, expected):
    scheduler = RiverLR(two_groups(), min_ratio=bound)
    assert scheduler.min_ratio == expected
    assert {type(value) for value in scheduler.min_ratio} == {float}


@pytest.mark.parametrize("bound", ["x", "12", None, [0.5, None], torch.ones(2, 2), object()])
@pytest.mark.parametrize("name", ["min_ratio", "max_ratio"])
def test_a_bound_that_is_no_number_is_refused_by_name(name, bound):
    with pytest.raises(TypeError, match=f"{name} must be one number or one per parameter group, got"):
        RiverLR(two_groups(), **{name: bound})


@pytest.mark.parametrize("bound", [[0.5], [0.5] * 3, torch.ones(3)])
def test_a_bound_of_another_count_is_refused_by_name(bound):
    with pytest.raises(ValueError, match=r"min_ratio must be one number or one per parameter group \(2\), got [13]"):
        RiverLR(two_groups(), min_ratio=bound)


@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), float("inf"), [0.5, 0.0], torch.tensor(0.0)])
def test_a_bound_that_is_not_positive_is_refused_by_name(bound):
    with pytest.raises(ValueError, match="min_ratio must be positive and finite, got"):
        RiverLR(two_groups(), min_ratio=bound)


@pytest.mark.parametrize("make", [TopoLR, TopoCNNLR, PerLayerTopoLR])
@pytest.mark.parametrize("option", [{"engine": "gpu"}, {"bias": "none"}, {"batch_norm": "train"}])
def test_an_unknown_option_of_planes_is_refused_by_the_constructor(make, option):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (name, value), *_ = option.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{value!r}"):
        make(optimizer, model, **option)
    assert "initial_lr" not in optimizer.param_groups[0]
