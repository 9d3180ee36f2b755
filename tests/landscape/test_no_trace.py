"""What the further directions read from a model they leave bitwise as it was, also after an exception."""

import copy

import pytest
import torch
from disturbed import OUTCOMES, Disturbed, mixed_modes
from examples import loss_of
from traces import state

from lrscape.landscape import (
    evaluate_adaptive,
    gradient_direction,
    layer_directions,
    line_between,
    plane_through,
    random_directions,
    trajectory,
    true_losses,
    update_direction,
)


def other(model, shift):
    moved = copy.deepcopy(model.state_dict())
    for value in moved.values():
        if value.is_floating_point():
            value.mul_(1 + shift)
    return moved


@pytest.fixture
def prepared(example):
    """A model in mixed modes with gradients for some of its parameters."""
    mixed_modes(example[0])
    return example


JOBS = {
    "gradient": lambda model, closure: gradient_direction(model, closure, norm="filter"),
    "gradient_batch": lambda model, closure: gradient_direction(model, closure, batch_norm="batch", dropout=True),
    "gradient_recalibrate": lambda model, closure: gradient_direction(model, closure, batch_norm="recalibrate"),
    "true_losses": lambda model, closure: true_losses(model, closure, [other(model, 0.1), model, other(model, 0.2)]),
    "true_losses_recalibrate": lambda model, closure: true_losses(
        model, closure, [other(model, 0.1)] * 3, batch_norm="recalibrate", dropout=True
    ),
    "adaptive": lambda model, closure: evaluate_adaptive(
        model, closure, random_directions(model, bias="match"), coarse=5, fine=9, tolerance=0.2, engine="inplace"
    ),
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_probes_leave_no_trace(prepared, job, outcome):
    model, batch = prepared
    kept = state(model)
    last = 1 if job in {"gradient", "gradient_batch"} else 2
    closure = Disturbed(lambda: loss_of(model, batch), outcome, last)
    with closure.ending():
        JOBS[job](model, closure)
    assert state(model) == kept


READERS = {
    "line": lambda model: line_between(model, model, other(model, 0.1)),
    "plane": lambda model: plane_through(model, other(model, 0.1), model, moved(model)),
    "trajectory": lambda model: trajectory(model, [other(model, 0.1), moved(model), model], center="mean"),
    "layers": layer_directions,
    "update": lambda model: update_direction(torch.optim.Adam(chosen(model)), model),
}


def chosen(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def moved(model):
    states = copy.deepcopy(model.state_dict())
    stream = torch.Generator().manual_seed(0)
    for value in states.values():
        if value.is_floating_point():
            value.add_(torch.randn(value.shape, generator=stream).to(value.dtype) * 0.1)
    return states


@pytest.mark.parametrize("job", READERS)
def test_readers_leave_no_trace(prepared, job):
    model, _ = prepared
    kept = state(model)
    READERS[job](model)
    assert state(model) == kept


def test_a_broken_checkpoint_in_the_middle_leaves_no_trace(prepared):
    model, batch = prepared
    kept = state(model)
    with pytest.raises(ValueError, match="does not fit"):
        true_losses(model, lambda: loss_of(model, batch), [other(model, 0.1), {"x": torch.ones(1)}])
    assert state(model) == kept
