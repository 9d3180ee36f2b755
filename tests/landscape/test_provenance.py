"""What a surface tells of the parameters that move, and of those that do not."""

import pytest
import torch
from torch import nn

from lrscape.landscape import directions_from_vectors, points, random_directions
from lrscape.landscape.provenance import at_rest, provenance


def _model():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False), nn.Linear(2, 2))
    nn.init.zeros_(model[2].weight)  # whose filters have no length, so that directions normalised by them are zero
    nn.init.zeros_(model[3].weight[1:].data)
    return model


@pytest.mark.parametrize("memory", ["normal", "low"])
@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize(
    ("options", "resting"),
    [
        ({}, ["0.bias", "1.weight", "1.bias", "2.weight", "3.bias"]),
        ({"bias": "match"}, ["1.bias", "2.weight"]),  # a new norm has bias 0
        ({"norm": "none", "bias": "match"}, []),
        ({"parameters": ["0", "2"]}, ["0.bias", "2.weight"]),
    ],
)
def test_what_rests_is_named_and_not_counted(memory, orthogonal, options, resting):
    model = _model()
    directions = random_directions(model, 2, memory=memory, orthogonal=orthogonal, **options)
    assert at_rest(directions) == resting
    # the reference: take one unit along each direction and look
    still = [name for name in directions.tensors if not directions.tensors[name].count_nonzero()]
    assert resting == still
    told = provenance(model, directions, points([[0.0, 0.0]]))
    parameters = dict(model.named_parameters())
    assert told["parameters_moved"] == sum(parameters[n].numel() for n in directions.tensors if n not in resting)
    assert told["parameters_total"] == sum(p.numel() for p in parameters.values())
    assert told["at_rest"] == resting
    assert set(told["at_rest"]) | set(told["left_out"]) | set(directions.tensors) == set(parameters)


def test_one_number_that_moves_is_enough():
    model = nn.Linear(3, 1)
    vectors = torch.zeros(2, 4)
    assert at_rest(directions_from_vectors(model, vectors)) == ["weight", "bias"]
    vectors[1, 2] = -1e-30
    assert at_rest(directions_from_vectors(model, vectors)) == ["bias"]
