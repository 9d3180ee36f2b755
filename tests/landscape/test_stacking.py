import copy
import json

import numpy as np
import pytest
import torch
from examples import MODELS, convolutional, loss_of
from torch import nn

from lrscape.landscape import (
    Directions,
    directions_from_vectors,
    evaluate,
    gradient_direction,
    grid,
    layer_directions,
    normalise,
    orthogonalise,
    random_directions,
    stack_directions,
)


def test_gradient_beside_a_random_direction():
    model, batch = convolutional()
    slope = gradient_direction(model, lambda: loss_of(model, batch), norm="unit")
    random = random_directions(model, 1, norm="filter")
    plane = stack_directions(slope, random)
    assert len(plane) == 2
    for name in plane.tensors:
        assert torch.equal(plane.tensors[name][0], slope.tensors[name][0])
        assert torch.equal(plane.tensors[name][1], random.tensors[name][0])
    assert [part["kind"] for part in plane.details["parts"]] == ["gradient", "random"]
    assert "norm" not in plane.details
    surface = evaluate(model, lambda: loss_of(model, batch), plane, grid(3, 0.1))
    json.dumps(surface.provenance)
    assert stack_directions(random, random).details["norm"] == "filter"


def test_parts_that_move_different_layers():
    model, _ = convolutional()
    first = random_directions(model, 1, parameters=["0"])
    last = random_directions(model, 2, parameters=["6"])
    both = stack_directions(first, last)
    assert both.tensors["0.weight"][1:].abs().sum() == 0
    assert both.tensors["6.weight"][0].abs().sum() == 0
    assert "0.weight" not in both.left_out
    assert "3.weight" in both.left_out


def test_orthogonal_with_the_same_lengths_and_the_first_untouched():
    model = nn.Linear(6, 3).double()
    base = torch.randn(21, dtype=torch.float64)
    nearly = torch.stack([base, base + 1e-4 * torch.randn(21), torch.randn(21)]).double()
    made = directions_from_vectors(model, nearly)
    straight = orthogonalise(made)
    np.testing.assert_allclose(straight.cosines(), np.eye(3), atol=1e-13)
    np.testing.assert_allclose(straight.norms(), made.norms(), rtol=1e-12)
    torch.testing.assert_close(straight.tensors["weight"][0], made.tensors["weight"][0], rtol=1e-15, atol=0)
    assert made.cosines()[0, 1] > 0.9
    with pytest.raises(ValueError, match="lies in the span of those before it"):
        orthogonalise(directions_from_vectors(model, torch.stack([base, base])))


def test_normalise_gives_random_directions_their_lengths():
    model, _ = convolutional()
    raw = random_directions(model, 2, norm="none", bias="match")
    for norm in ("filter", "layer"):
        for bias in ("zero", "match"):
            expected = random_directions(model, 2, norm=norm, bias=bias)
            found = normalise(raw, model, norm, bias)
            for name, tensor in expected.tensors.items():
                torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-5, atol=1e-7)
    assert torch.equal(normalise(raw, model, "none").tensors["0.weight"], raw.tensors["0.weight"])
    np.testing.assert_allclose(normalise(raw, model, "unit").norms(), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_layers_add_up_to_the_whole_model(kind):
    model, batch = MODELS[kind]()
    whole = random_directions(model, 2, seed=5, bias="match")
    layers = layer_directions(model, 2, seed=5, bias="match")
    names = [name for layer in layers.values() for name in layer.tensors]
    assert sorted(names) == sorted(whole.tensors)
    for layer in layers.values():
        for name, tensor in layer.tensors.items():
            assert torch.equal(tensor, whole.tensors[name])
        assert set(layer.left_out) >= set(whole.tensors) - set(layer.tensors)
        evaluate(model, lambda: loss_of(model, batch), layer, grid(3))


def test_layers_by_name():
    model, _ = convolutional()
    assert list(layer_directions(model)) == ["0", "3", "6"]
    assert list(layer_directions(model, bias="match")) == ["0", "1", "3", "6"]
    assert list(layer_directions(model, parameters=["3"])) == ["3"]
    with pytest.raises(ValueError, match="leaves no layer"):
        layer_directions(nn.BatchNorm1d(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_saved_and_loaded_directions_are_bitwise_the_same(tmp_path, dtype):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).to(dtype)
    made = random_directions(model, 2, seed=(1, 2), parameters=["1"])
    made.save(tmp_path / "directions.npz")
    for back in (Directions.load(tmp_path / "directions.npz"), Directions.load(tmp_path / "directions.npz", model)):
        assert list(back.tensors) == list(made.tensors)
        for name, tensor in made.tensors.items():
            assert back.tensors[name].dtype == tensor.dtype
            assert torch.equal(back.tensors[name], tensor)
        assert back.kind == "random"
        assert back.details == {**made.details, "seed": [1, 2]}
        assert back.left_out == made.left_out
    assert [path.name for path in tmp_path.iterdir()] == ["directions.npz"]


def test_other_files_and_models_are_refused_by_name(tmp_path):
    path = tmp_path / "directions.npz"
    model = nn.Linear(3, 2)
    random_directions(model).save(path)
    with pytest.raises(ValueError, match=r"moves weight with shape \(2, 3\), but Linear has it with shape \(3, 2\)"):
        Directions.load(path, nn.Linear(2, 3))
    with pytest.raises(ValueError, match="no such parameter"):
        Directions.load(path, nn.Sequential(model))
    whole = path.read_bytes()
    header = np.frombuffer(json.dumps({"schema": 99}).encode(), dtype=np.uint8)
    with (tmp_path / "newer.npz").open("wb") as file:
        np.savez(file, directions=header)
    with (tmp_path / "foreign.npz").open("wb") as file:
        np.savez(file, a=np.ones(3))
    with (tmp_path / "object.npz").open("wb") as file:
        np.savez(file, directions=np.array([{"schema": 1}], dtype=object))
    (tmp_path / "cut.npz").write_bytes(whole[:-200])
    (tmp_path / "text.npz").write_bytes(b"no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("newer", "foreign", "object", "cut", "text", "empty"):
        with pytest.raises(ValueError, match=rf"{name}\.npz does not hold directions"):
            Directions.load(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        Directions.load(tmp_path / "absent.npz")


def test_bad_arguments_are_named():
    model = nn.Linear(2, 2)
    made = random_directions(model)
    with pytest.raises(ValueError, match="at least one Directions"):
        stack_directions()
    with pytest.raises(TypeError, match="got Linear"):
        stack_directions(made, model)
    with pytest.raises(TypeError, match="got Tensor"):
        orthogonalise(torch.ones(3))
    with pytest.raises(ValueError, match=r"shapes \(2, 2\) and \(3, 2\)"):
        stack_directions(made, random_directions(nn.Linear(2, 3)))
    with pytest.raises(ValueError, match="which this model lacks"):
        normalise(made, nn.Linear(3, 3))
    with pytest.raises(ValueError, match="norm must be one of"):
        normalise(made, model, "rows")
    bias = directions_from_vectors(copy.deepcopy(model), torch.ones(2), parameters=["bias"])
    with pytest.raises(ValueError, match="leaves nothing of a direction"):
        normalise(bias, model)
