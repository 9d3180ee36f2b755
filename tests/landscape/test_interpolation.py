import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import convolutional, loss_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import evaluate, line, line_between, plane_through, points, random_directions


def models(count, dtype=torch.float64):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        model, batch = convolutional()
        model = model.to(dtype).train()
        model(batch[0].to(dtype))  # running statistics of its own
        made.append(model.eval())
    return made, (batch[0].to(dtype), batch[1])


def flat(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def loss_at(model, vector, batch):
    twin = copy.deepcopy(model)
    torch.nn.utils.vector_to_parameters(vector, twin.parameters())
    return float(loss_of(twin, batch).detach())


def sources(kind, models, folder):
    if kind == "module":
        return models
    if kind == "state":
        return [model.state_dict() for model in models]
    if kind == "wrapped":
        return [nn.DataParallel(model).state_dict() for model in models]
    paths = [folder / f"{i}.pt" for i in range(len(models))]
    for model, path in zip(models, paths, strict=True):
        torch.save({"state_dict": model.state_dict(), "epoch": 1}, path)
    return [paths[0], *map(str, paths[1:])]


@pytest.mark.parametrize("kind", ["module", "state", "wrapped", "path"])
def test_line_against_the_formula(kind, tmp_path):
    (a, b), batch = models(2)
    other = copy.deepcopy(a)
    torch.nn.init.ones_(other[0].weight)
    kept = copy.deepcopy(other.state_dict())
    section = line_between(other, *sources(kind, [a, b], tmp_path))
    alphas = [-0.5, 0.0, 0.3, 1.0, 1.4]
    surface = evaluate(section.model, lambda: loss_of(section.model, batch), section.directions, points(alphas))
    expected = [loss_at(a, (1 - alpha) * flat(a) + alpha * flat(b), batch) for alpha in alphas]
    np.testing.assert_allclose(surface.losses, expected, rtol=1e-12)
    assert section.coordinates.tolist() == [[0.0], [1.0]]
    np.testing.assert_allclose(section.directions.norms(), torch.linalg.vector_norm(flat(b) - flat(a)), rtol=1e-12)
    assert all(torch.equal(value, kept[name]) for name, value in other.state_dict().items())
    assert section.model is not other


def test_the_models_own_weights_need_no_copy():
    (a, b), batch = models(2)
    section = line_between(a, a, b.state_dict())
    assert section.model is a
    back = line_between(a, b, a)
    assert torch.equal(flat(back.model), flat(b))
    assert torch.equal(back.model[1].running_mean, b[1].running_mean)
    expected = [loss_of(b, batch).item()]
    found = evaluate(back.model, lambda: loss_of(back.model, batch), back.directions, points([0.0]))
    np.testing.assert_allclose(found.losses, expected, rtol=1e-12)


def test_recalibrated_end_of_the_line_has_the_loss_of_b():
    (a, b), (x, y) = models(2)
    section = line_between(a, a, b)
    for policy, close in (("recalibrate", True), ("eval", False)):
        found = evaluate(a, lambda: F.cross_entropy(a(x), y), section.directions, points([1.0]), batch_norm=policy)
        twin = copy.deepcopy(b)
        anywhere = random_directions(twin, 1)
        alone = evaluate(twin, lambda m=twin: F.cross_entropy(m(x), y), anywhere, points([0.0]), batch_norm=policy)
        assert np.allclose(found.losses, alone.losses, rtol=1e-12) == close


@pytest.mark.parametrize("kind", ["module", "path"])
def test_plane_against_the_formula(kind, tmp_path):
    (a, b, c), batch = models(3)
    section = plane_through(copy.deepcopy(c), *sources(kind, [a, b, c], tmp_path))
    u, v = flat(b) - flat(a), flat(c) - flat(a)
    v = v - u * (u @ v) / (u @ u)
    u, v = u / u.norm(), v / v.norm()
    np.testing.assert_allclose(section.directions.gram(), np.eye(2), atol=1e-14)
    coordinates = np.array([[0.4, -0.7], *section.coordinates])
    surface = evaluate(section.model, lambda: loss_of(section.model, batch), section.directions, points(coordinates))
    expected = [loss_at(a, flat(a) + x * u + y * v, batch) for x, y in coordinates]
    np.testing.assert_allclose(surface.losses, expected, rtol=1e-12)
    for model, (x, y) in zip((a, b, c), section.coordinates, strict=True):
        torch.testing.assert_close(flat(a) + x * u + y * v, flat(model), rtol=0, atol=1e-13)


@given(
    seed=st.integers(0, 10**6), skew=st.floats(1e-4, 1), scale=st.sampled_from([1e-6, 1.0, 1e6])
)  # the skewer the triangle, the harder for Gram–Schmidt
def test_plane_is_orthonormal_and_keeps_distances(seed, skew, scale):
    stream = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(1, 9, generator=stream) * scale for _ in range(2))
    c = a + 0.6 * (b - a) + skew * scale * torch.randn(1, 9, generator=stream)
    anchors = [vector.double() for vector in (a, b, c)]
    section = plane_through(nn.Linear(9, 1, bias=False).double(), *({"weight": w} for w in anchors))
    np.testing.assert_allclose(section.directions.gram(), np.eye(2), atol=1e-10)
    for i in range(3):
        for j in range(3):
            found = np.linalg.norm(section.coordinates[i] - section.coordinates[j])
            assert found == pytest.approx(float((anchors[i] - anchors[j]).norm()), rel=1e-9, abs=1e-12 * scale)


def test_grid_holds_the_anchors_and_the_origin():
    (a, b, c), _ = models(3)
    section = plane_through(a, a, b, c)
    made = section.points(10, margin=0.1)
    assert made.shape == (10, 10)
    assert (made.coordinates == 0).all(axis=1).sum() == 1
    assert (made.coordinates.min(axis=0) <= section.coordinates.min(axis=0)).all()
    assert (made.coordinates.max(axis=0) >= section.coordinates.max(axis=0)).all()
    assert line_between(a, a, b).points(9).shape == (9,)


def test_only_what_differs_moves():
    (a, b), _ = models(2)
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[0].weight += 1
    a.requires_grad_(False)
    section = line_between(a, a, b)
    assert set(section.directions.tensors) == {"0.weight"}
    assert "6.bias" in section.directions.left_out
    with pytest.raises(ValueError, match="a and b are the same weights"):
        line_between(a, a, b, parameters=["6"])


def test_float32_and_half_precision_reach_the_other_end():
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        torch.manual_seed(0)
        a, b = nn.Linear(6, 4).to(dtype), nn.Linear(6, 4).to(dtype)
        section = line_between(a, a, b)
        assert section.directions.tensors["weight"].dtype == torch.float32
        seen = []

        def closure(a=a, seen=seen):
            seen.append(a.weight.clone())
            return a.weight.sum()

        evaluate(a, closure, section.directions, line(3), engine="inplace")
        torch.testing.assert_close(seen[2], b.weight, rtol=tolerance, atol=tolerance)


def test_what_does_not_fit_is_named(tmp_path):
    (a, b), _ = models(2)
    state = a.state_dict()
    with pytest.raises(ValueError, match=r"it lacks 1 \(0.weight\)"):
        line_between(a, a, {name: value for name, value in state.items() if name != "0.weight"})
    with pytest.raises(ValueError, match=r"besides 1 \(extra\)"):
        line_between(a, a, {**state, "extra": torch.ones(1)})
    with pytest.raises(ValueError, match="size mismatch"):
        line_between(a, a, {**state, "0.weight": torch.ones(1)})
    with pytest.raises(TypeError, match=r"got method; call state_dict\(\)"):
        line_between(a, a, b.state_dict)
    with pytest.raises(FileNotFoundError, match="absent"):
        line_between(a, a, tmp_path / "absent.pt")
    with pytest.raises(ValueError, match="not finite"):
        line_between(a, a, {**state, "0.weight": state["0.weight"] * float("nan")})
    middle = {name: (value + b.state_dict()[name]) / 2 for name, value in state.items()}
    with pytest.raises(ValueError, match="lie on one line"):
        plane_through(a, a, b, middle)
    with pytest.raises(ValueError, match="a and c are the same"):
        plane_through(a, a, b, a)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        line_between(3, a, b)


def test_a_model_that_cannot_be_copied_is_told_what_to_do():
    model = nn.Linear(2, 2)
    model.cache = model.weight * 2  # no leaf
    with pytest.raises(ValueError, match=r"cannot be copied .* built and loaded separately"):
        line_between(model, model, nn.Linear(2, 2).state_dict())
