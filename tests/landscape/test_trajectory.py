import copy
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import convolutional, loss_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import Objective, evaluate, points, trajectory, true_losses


def run(steps=12, dtype=torch.float64):
    """A short training with its states."""
    torch.manual_seed(0)
    model, (x, y) = convolutional()
    model, x = model.to(dtype).train(), x.to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    states = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, (x, y)).backward()
        optimizer.step()
        states.append(copy.deepcopy(model.state_dict()))
    return model.eval(), states, (x, y)


def matrix(model, states):
    names = [name for name, _ in model.named_parameters()]
    return np.stack([torch.cat([state[n].reshape(-1) for n in names]).double().numpy() for state in states])


@pytest.mark.parametrize("center", ["final", "mean"])
@pytest.mark.parametrize("block", [1, 5, 50])
def test_against_a_singular_value_decomposition(center, block):
    model, states, _ = run()
    made = trajectory(model, states, k=3, center=center, block=block)
    rows = matrix(model, states)
    rows = rows - (rows[-1] if center == "final" else rows.mean(axis=0))
    u, s, vt = np.linalg.svd(rows, full_matrices=False)
    flat = torch.cat([t.reshape(3, -1) for t in made.directions.tensors.values()], dim=1).numpy()
    signs = np.sign((flat * vt[:3]).sum(axis=1))
    np.testing.assert_allclose(flat, signs[:, None] * vt[:3], atol=1e-10)
    np.testing.assert_allclose(made.path, signs * (u * s)[:, :3], atol=1e-10)
    np.testing.assert_allclose(made.path, rows @ flat.T, atol=1e-12)
    np.testing.assert_allclose(made.explained_variance, (s**2 / (s**2).sum())[:3], rtol=1e-10)
    np.testing.assert_allclose(made.spectrum.sum(), 1)
    np.testing.assert_allclose(made.distance, np.linalg.norm(rows - made.path @ flat, axis=1), atol=1e-7)
    np.testing.assert_allclose(made.directions.gram(), np.eye(3), atol=1e-10)
    largest = np.abs(made.path).argmax(axis=0)
    assert (made.path[largest, range(3)] > 0).all()
    assert made.directions.details["checkpoints"] == len(states)


@given(seed=st.integers(0, 10**6), count=st.integers(4, 9), center=st.sampled_from(["final", "mean"]))
@settings(max_examples=30, deadline=None)
def test_properties(seed, count, center):
    stream = torch.Generator().manual_seed(seed)
    states = [{"weight": torch.randn(2, 5, generator=stream, dtype=torch.float64)} for _ in range(count)]
    model = nn.Linear(5, 2, bias=False).double()
    made = trajectory(model, states, center=center)
    origin = states[-1]["weight"] if center == "final" else torch.stack([s["weight"] for s in states]).mean(dim=0)
    torch.testing.assert_close(made.model.weight.detach(), origin, rtol=1e-12, atol=1e-12)
    for state, where, distance in zip(states, made.path, made.distance, strict=True):
        projection = origin + torch.tensordot(torch.from_numpy(where), made.directions.tensors["weight"], 1)
        assert float((projection - state["weight"]).norm()) == pytest.approx(distance, abs=1e-6)
    order = trajectory(model, states[-2::-1] + states[-1:], center=center)  # the order only orders the path
    np.testing.assert_allclose(np.abs(order.path[:-1]), np.abs(made.path[-2::-1]), atol=1e-8)


class Lazy(Sequence):
    """States that are made when asked for, and counted while they live."""

    def __init__(self, count, size=7):
        self.count, self.size, self.reads, self.most, self._alive = count, size, 0, 0, weakref.WeakSet()

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        state = State(weight=torch.randn(1, self.size, generator=torch.Generator().manual_seed(index % self.count)))
        self._alive.add(state)
        self.reads, self.most = self.reads + 1, max(self.most, len(self._alive))
        return state


class State(dict):
    __hash__ = object.__hash__


def test_checkpoints_are_read_in_a_stream():
    lazy = Lazy(40)
    made = trajectory(nn.Linear(7, 1, bias=False), lazy, block=8)
    assert lazy.most <= 2
    assert lazy.reads <= 40 * (40 / 16 + 3)
    assert made.path.shape == (40, 2)


def peak(count, size, block):
    """Most bytes that tensors of at least one vector's size hold at a time."""
    alive, most = weakref.WeakSet(), 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal most
            out = func(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(out):
                if torch.is_tensor(tensor) and tensor.numel() >= size:
                    alive.add(tensor.untyped_storage())
            most = max(most, sum({s.data_ptr(): s.nbytes() for s in alive}.values()))
            return out

    model = nn.Linear(size, 1, bias=False)
    with Watch():
        trajectory(model, Lazy(count, size), block=block)
    return most


def test_memory_does_not_grow_with_the_number_of_checkpoints():
    size = 2**19
    assert peak(24, size, 3) == peak(9, size, 3) <= 4 * size * 16


def test_mean_and_final_keep_the_users_model():
    model, states, _ = run(6)
    kept = copy.deepcopy(model.state_dict())
    assert trajectory(model, [*states[:-1], model]).model is model
    mean = trajectory(model, [*states[:-1], model], center="mean").model
    assert mean is not model
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    np.testing.assert_allclose(matrix(mean, [mean.state_dict()])[0], matrix(model, states).mean(axis=0), atol=1e-14)


def test_files_and_parts_of_a_model(tmp_path):
    model, states, _ = run(5, torch.float32)
    paths = [tmp_path / f"{i}.pt" for i in range(5)]
    for state, path in zip(states, paths, strict=True):
        torch.save({"model": state}, path)
    expected = trajectory(model, states)
    np.testing.assert_array_equal(trajectory(model, paths).path, expected.path)
    part = trajectory(model, paths, parameters=["6"])
    assert set(part.directions.tensors) == {"6.weight", "6.bias"}
    assert part.points(7).shape == (7, 7)
    assert (part.points(7).coordinates == 0).all(axis=1).sum() == 1


def test_what_makes_no_plane_is_refused():
    model, states, _ = run(4)
    with pytest.raises(ValueError, match="need at least 3 checkpoints, got 2"):
        trajectory(model, states[:2])
    with pytest.raises(ValueError, match="4 checkpoints span only 1"):
        trajectory(model, [states[0], states[1], states[1], states[1]])
    with pytest.raises(ValueError, match="span only 0"):
        trajectory(model, [states[0]] * 4)
    with pytest.raises(ValueError, match=r"checkpoint 1 \(from 0\) holds weights that are not finite"):
        trajectory(model, [states[0], {n: v * float("nan") for n, v in states[1].items()}, states[2]])
    with pytest.raises(ValueError, match=r"checkpoint 2 \(from 0\) holds weights that are not finite"):
        trajectory(model, [states[0], states[1], {n: v * float("nan") for n, v in states[1].items()}])
    with pytest.raises(ValueError, match="center must be 'final' or 'mean', got 'first'"):
        trajectory(model, states, center="first")
    with pytest.raises(ValueError, match="block=0"):
        trajectory(model, states, block=0)
    for wrong in ("run.pt", states[0], iter(states)):
        with pytest.raises(TypeError, match="checkpoints must be a sequence"):
            trajectory(model, wrong)


@pytest.mark.parametrize("policy", ["eval", "batch", "recalibrate"])
@pytest.mark.parametrize("kind", ["closure", "objective"])
def test_true_losses_are_those_of_each_state_loaded(policy, kind):
    model, states, (x, y) = run(5)
    kept = copy.deepcopy(model.state_dict())
    batches = [(x, y)] if kind == "closure" else list(zip(x.split(5), y.split(5), strict=True))
    objective = Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), batches,
                          {"right": lambda m, b: (m(b[0]).argmax(1) == b[1]).double().mean()})  # fmt: skip
    given = (lambda: F.cross_entropy(model(x), y)) if kind == "closure" else objective
    found = true_losses(model, given, [*states, model], batch_norm=policy)
    for i, state in enumerate([*states, kept]):
        twin = copy.deepcopy(model)
        twin.load_state_dict(state)
        zero = trajectory(twin, states).directions
        alone = evaluate(twin, objective, zero, points([[0.0, 0.0]]), batch_norm=policy)
        np.testing.assert_allclose(found.losses[i], alone.losses[0], rtol=1e-12)
        if kind == "objective":
            assert found.metrics["right"][i] == alone.metrics["right"][0]
            assert found.standard_error[i] == pytest.approx(alone.standard_error[0], rel=1e-9)
    assert found.coordinates.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_true_losses_of_the_model_itself_after_others():
    model, states, (x, y) = run(3)
    expected = loss_of(model, (x, y)).item()
    found = true_losses(model, lambda: loss_of(model, (x, y)), [states[0], model, states[0], model])
    assert found.losses[1] == found.losses[3] == pytest.approx(expected, rel=1e-12)
    assert found.losses[0] == found.losses[2] != found.losses[1]


def test_bad_arguments_of_true_losses():
    model, states, _ = run(2)
    with pytest.raises(ValueError, match="checkpoints is empty"):
        true_losses(model, lambda: model[0].weight.sum(), [])
    with pytest.raises(TypeError, match="checkpoints must be a sequence"):
        true_losses(model, lambda: model[0].weight.sum(), states[0])
    with pytest.raises(TypeError, match="objective must be"):
        true_losses(model, 3, states)
    with pytest.raises(ValueError, match="batch_norm must be one of"):
        true_losses(model, lambda: model[0].weight.sum(), states, batch_norm="none")
    with pytest.raises(TypeError, match="model must be"):
        true_losses(None, lambda: 0, states)
