import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import directions_from_vectors, random_directions
from lrscape.landscape.draws import stream_seed
from lrscape.landscape.parameters import movable


class Conv1D(nn.Module):
    """GPT-2's: stores the transpose of a linear layer's matrix."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5))


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(2, 4, 3)
        self.conv3 = nn.Conv3d(2, 4, 2)
        self.up = nn.ConvTranspose2d(4, 6, 3, groups=2)
        self.gpt = Conv1D()
        self.position = nn.Parameter(torch.randn(1, 5, 3))
        self.experts = nn.Parameter(torch.randn(2, 4, 3))
        self.table = nn.Embedding(5, 3)
        self.scalar = nn.Parameter(torch.tensor(2.0))


def filters_by_hand(model):
    """Every filter as a list of weights, written out one by one."""
    up = model.up.weight
    return {
        "conv1.weight": [model.conv1.weight[o] for o in range(4)],
        "conv3.weight": [model.conv3.weight[o] for o in range(4)],
        "up.weight": [up[2 * g : 2 * g + 2, o] for g in range(2) for o in range(3)],
        "gpt.weight": [model.gpt.weight[:, c] for c in range(5)],
        "position": [model.position[0, i] for i in range(5)],
        "experts": [model.experts[e, o] for e in range(2) for o in range(4)],
        "table.weight": list(model.table.weight),
    }


def with_direction(model, directions, index):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(directions.tensors[name][index])
    return twin


def test_each_filter_is_as_long_as_the_models():
    model = Odd()
    directions = random_directions(model, 2, seed=3)
    for index in range(2):
        twin = with_direction(model, directions, index)
        found, expected = filters_by_hand(twin), filters_by_hand(model)
        for name in expected:
            torch.testing.assert_close(
                torch.stack([f.norm() for f in found[name]]), torch.stack([f.norm() for f in expected[name]])
            )


def test_bias_policies():
    model = Odd()
    zero = random_directions(model, 1)
    assert zero.tensors["conv1.bias"].abs().sum() == 0
    assert zero.tensors["scalar"].abs().sum() == 0
    match = random_directions(model, 1, bias="match")
    torch.testing.assert_close(match.tensors["conv1.bias"][0].norm(), model.conv1.bias.detach().norm())
    torch.testing.assert_close(match.tensors["scalar"][0].abs(), torch.tensor(2.0))
    lengths = sum(p.detach().double().square().sum() for p in model.parameters()) ** 0.5
    np.testing.assert_allclose(random_directions(model, 2, bias="match").norms(), float(lengths), rtol=1e-6)


def test_layer_and_no_norm():
    model = Odd()
    layer = random_directions(model, 1, norm="layer")
    torch.testing.assert_close(layer.tensors["up.weight"][0].norm(), model.up.weight.detach().norm())
    raw = random_directions(nn.Linear(200, 200), 1, norm="none")
    assert abs(float(raw.tensors["weight"].std()) - 1) < 0.02


@given(seed=st.integers(0, 10**6), k=st.integers(2, 4))
def test_orthogonalised_directions_are_orthogonal_and_keep_their_length(seed, k):
    model = nn.Linear(5, 4)
    plain = random_directions(model, k, seed=seed)
    straight = random_directions(model, k, seed=seed, orthogonal=True)
    np.testing.assert_allclose(straight.cosines(), np.eye(k), atol=1e-5)
    np.testing.assert_allclose(straight.norms(), plain.norms(), rtol=1e-5)


def test_too_many_orthogonal_directions_are_refused():
    with pytest.raises(ValueError, match="fewer directions"):
        random_directions(nn.Linear(2, 1, bias=False), 3, orthogonal=True)


def test_same_seed_same_direction_whatever_the_order_wrapper_dtype_or_company():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    expected = random_directions(model, 2, seed=7)
    wrapped = random_directions(nn.ModuleDict({"module": model}), 2, seed=7)
    double = random_directions(copy.deepcopy(model).double(), 2, seed=7)
    alone = random_directions(model, 1, seed=7, parameters=["1.weight"])
    for name, tensor in expected.tensors.items():
        assert torch.equal(tensor, wrapped.tensors[name])
        torch.testing.assert_close(tensor.double(), double.tensors[name], rtol=1e-6, atol=1e-7)
    assert torch.equal(alone.tensors["1.weight"][0], expected.tensors["1.weight"][0])
    assert set(alone.left_out) == {"0.weight", "0.bias", "1.bias"}


def test_different_seeds_and_indices_differ():
    seeds = {stream_seed(seed, k, name) for seed in (0, 1, (0, 1)) for k in range(3) for name in ("a", "b")}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_callers_random_state_is_untouched():
    model = nn.Linear(3, 3)
    state = torch.get_rng_state()
    random_directions(model, 2)
    assert torch.equal(state, torch.get_rng_state())


def test_choice_of_parameters():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).requires_grad_(False)
    model.register_parameter("counts", nn.Parameter(torch.arange(3), requires_grad=False))
    with pytest.raises(ValueError, match=r"no parameter that can move: .* 0 with requires_grad"):
        random_directions(model)
    assert set(random_directions(model, parameters=["0"]).tensors) == {"0.weight", "0.bias"}
    assert set(random_directions(model, parameters=["*.weight"]).tensors) == {"0.weight", "1.weight", "2.weight"}
    chosen = random_directions(model, parameters=lambda name, p: p.dim() == 2)
    assert set(chosen.tensors) == {"0.weight", "2.weight"}
    with pytest.raises(ValueError, match=r"'3\.weight', which the model does not have"):
        random_directions(model, parameters=["3.weight"])
    with pytest.raises(TypeError, match="pass a list"):
        random_directions(model, parameters="0")
    with pytest.raises(ValueError, match="no parameter that can move"):
        random_directions(model, parameters=["counts"])


def test_tied_parameters_move_once():
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    model[1].weight = model[0].weight
    assert set(random_directions(model).tensors) == {"0.weight", "0.bias", "1.bias"}


def test_published_lengths(reference):
    directions = directions_from_vectors(reference.model, np.stack([reference.arrays["d1"], reference.arrays["d2"]]))
    sparse = reference.numbers["sparse"]
    np.testing.assert_allclose(directions.norms(), [sparse["norm_d1"], sparse["norm_d2"]], rtol=1e-6)
    np.testing.assert_allclose(directions.cosines()[0, 1], sparse["cos"], rtol=1e-5)
    for name, entry in sparse["per_param_d1"].items():
        np.testing.assert_allclose(float(directions.tensors[name][0].norm()), entry["dir"], rtol=1e-6)
    ours = random_directions(reference.model, 2, bias="match")
    np.testing.assert_allclose(ours.norms(), sparse["norm_d1"], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"norm": "row"}, "norm must be 'filter', 'layer' or 'none', got 'row'"),
        ({"bias": "one"}, "bias must be 'zero' or 'match'"),
        ({"generator": "gpu"}, "generator must be"),
        ({"parameters": ["bias"]}, "Pass bias='match'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        random_directions(nn.Linear(2, 2), **options)


def test_vectors_must_fit():
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"shape \(k, 3\)"):
        directions_from_vectors(model, torch.ones(4))
    with pytest.raises(ValueError, match="finite"):
        directions_from_vectors(model, torch.full((3,), float("nan")))
    taken = directions_from_vectors(model, torch.ones(3))
    assert taken.tensors["weight"].shape == (1, 1, 2)


def test_a_shared_parameter_answers_to_all_its_names():
    model = nn.Module()
    model.embedding, model.head = nn.Embedding(5, 3), nn.Linear(3, 5)
    model.head.weight = model.embedding.weight
    for name in ("embedding.weight", "head.weight", "embedding", "*.weight"):
        assert [slot.name for slot in movable(model, [name])] == ["embedding.weight"]
    assert [slot.name for slot in movable(model, ["head"])] == ["embedding.weight", "head.bias"]


def test_a_glob_of_modules_is_told_how_to_name_what_is_within():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 1))
    with pytest.raises(
        ValueError, match=r"'\[0-9\].0', which the model does not have; what is within is '\[0-9\].0\.\*'"
    ):
        movable(model, ["[0-9].0"])
    assert [slot.name for slot in movable(model, ["[0-9].0.*"])] == ["0.0.weight", "0.0.bias"]
