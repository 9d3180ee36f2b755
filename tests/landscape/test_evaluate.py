import copy
import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import MODELS, loss_of
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrscape.landscape import (
    LossSurface,
    Objective,
    directions_from_vectors,
    evaluate,
    features,
    grid,
    line,
    points,
    random_directions,
    sparse_stencil,
)
from lrscape.landscape.engines import fixed_engine
from lrscape.landscape.parameters import movable

ENGINES = ["inplace", "batched"]


@torch.no_grad()
def loop(model, loss, directions, coordinates):
    """The slow reference: a copy of the model for each point."""
    losses = []
    for c in coordinates:
        twin = copy.deepcopy(model).eval()
        for name, p in twin.named_parameters():
            if name in directions.tensors:
                d = directions.tensors[name]
                p.copy_(p.to(d.dtype) + torch.tensordot(torch.tensor(c).to(d.dtype), d, 1))
        losses.append(float(loss(twin)))
    return np.array(losses)


@pytest.mark.parametrize("engine", ENGINES)
def test_published_losses_and_features(reference, engine):
    sparse, dense = reference.numbers["sparse"], reference.numbers["dense"]
    directions = directions_from_vectors(reference.model, np.stack([reference.arrays["d1"], reference.arrays["d2"]]))
    coordinates = sparse_stencil().coordinates.copy()
    coordinates[9:] = np.stack([sparse["rand_u"], sparse["rand_v"]], axis=1)
    surface = evaluate(reference.model, reference.closure, directions, points(coordinates), engine=engine)
    expected = [sparse["center"], *sparse["neighbors"], *sparse["samples"]]
    np.testing.assert_allclose(surface.losses, expected, atol=1e-6)
    found = features(surface)
    assert found.sharpness == pytest.approx(sparse["sharpness"], abs=1e-6)
    assert found.variance == pytest.approx(sparse["variance_pop_std"], abs=1e-6)
    plane = directions_from_vectors(reference.model, np.stack([reference.arrays["e1"], reference.arrays["e2"]]))
    surface = evaluate(reference.model, reference.closure, plane, grid(7, span=0.12), engine=engine)
    np.testing.assert_allclose(surface.values, dense["grid"], atol=1e-6)
    assert features(surface).sharpness == pytest.approx(dense["sharpness"], abs=1e-6)
    assert features(surface).variance == pytest.approx(dense["variance"], abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name in MODELS if name not in {"compiled", "mixed_precision"}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_loop(name, engine, dtype):
    model, batch = MODELS[name]()
    model.to(dtype)
    batch = tuple(t.to(dtype) if t.is_floating_point() else t for t in batch)
    directions = random_directions(model, 2, seed=1)
    coordinates = sparse_stencil(0.4, samples=3).coordinates
    surface = evaluate(model, lambda: loss_of(model, batch), directions, points(coordinates), engine=engine)
    expected = loop(model, lambda twin: F.cross_entropy(twin(batch[0]).flatten(0, -2), batch[1].flatten()),
                    directions, coordinates)  # fmt: skip
    if dtype == torch.float64 and name != "hooked":
        # loss_of computes in float32; the exact comparison needs the loss in float64
        double = evaluate(
            model, lambda: F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten()), directions,
            points(coordinates), engine=engine,
        )  # fmt: skip
        np.testing.assert_allclose(double.losses, expected, rtol=1e-12)
    np.testing.assert_allclose(surface.losses, expected, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision_moves_are_rounded_once(engine):
    model, batch = MODELS["mixed_precision"]()
    directions = random_directions(model, 2, bias="match")
    coordinates = sparse_stencil().coordinates
    surface = evaluate(model, lambda: loss_of(model, batch), directions, points(coordinates), engine=engine)
    expected = loop(model, lambda twin: loss_of(twin, batch), directions, coordinates)
    # bfloat16 has three digits, and batched kernels add in another order
    np.testing.assert_allclose(surface.losses, expected, rtol={"inplace": 1e-6, "batched": 1e-2}[engine])


@pytest.mark.parametrize("engine", ENGINES)
def test_closed_form(engine):
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0]]))
    directions = directions_from_vectors(model, torch.eye(2, dtype=torch.float64))
    surface = evaluate(model, lambda: (model.weight**2).sum(), directions, grid(5, 2.0), engine=engine)
    u, v = surface.coordinates.T
    np.testing.assert_allclose(surface.losses, (1 + u) ** 2 + (v - 2) ** 2, rtol=1e-14)


def _objective(drop_last=False, shuffle=False, **options):
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(23, 4, generator=stream, dtype=torch.float64)
    y = torch.randint(3, (23,), generator=stream)
    loader = DataLoader(TensorDataset(x, y), 5, shuffle=shuffle, generator=stream, drop_last=drop_last)
    return x, y, Objective(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), loader, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("chunk", [None, 4])
def test_objective_weighs_batches_by_their_size_and_shares_the_forward_pass(engine, shuffle, chunk):
    calls = []

    class Counting(nn.Sequential):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    model = Counting(nn.Linear(4, 3)).double()
    x, y, objective = _objective(
        shuffle=shuffle,
        metrics={
            "accuracy": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).double().mean(),
            "each": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).double(),
            "tokens": lambda model, batch: (model(batch[0]).sum(), batch[0].numel()),
        },
    )
    directions = random_directions(model, 2, seed=2)
    surface = evaluate(model, objective, directions, grid(3, 0.5), engine=engine, chunk=chunk)
    passes = {"inplace": 9 * 5, "batched": (1 if chunk is None else 3) * 5}[engine]
    assert len(calls) == passes
    expected = loop(model, lambda twin: F.cross_entropy(twin(x), y), directions, surface.coordinates)
    np.testing.assert_allclose(surface.losses, expected, rtol=1e-12)
    right = loop(model, lambda twin: (twin(x).argmax(1) == y).double().mean(), directions, surface.coordinates)
    np.testing.assert_allclose(surface.metrics["accuracy"], right, rtol=1e-12)
    np.testing.assert_allclose(surface.metrics["each"], right, rtol=1e-12)
    mean = loop(model, lambda twin: twin(x).sum() / x.numel(), directions, surface.coordinates)
    np.testing.assert_allclose(surface.metrics["tokens"], mean, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
def test_standard_error_is_that_of_the_batch_means(engine):
    x, y, objective = _objective(drop_last=True)
    model = nn.Linear(4, 3).double()
    surface = evaluate(model, objective, random_directions(model, 1), line(3), engine=engine)
    with torch.no_grad():
        means = [float(F.cross_entropy(model(x[i : i + 5]), y[i : i + 5])) for i in range(0, 20, 5)]
    assert surface.standard_error[1] == pytest.approx(np.std(means, ddof=1) / 2, rel=1e-9)
    closure = evaluate(model, lambda: model.weight.sum(), random_directions(model, 1), line(3), engine=engine)
    assert closure.standard_error is None


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_uses_the_same_masks_at_every_point(engine):
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 1))
    x = torch.randn(8, 4)
    still = directions_from_vectors(model, torch.zeros(sum(p.numel() for p in model.parameters())))

    def run(**options):
        return evaluate(model, lambda: model(x).square().sum(), still, line(7), engine=engine, **options).losses

    assert len(np.unique(run(dropout=True))) == 1
    assert len(np.unique(run(dropout=True, chunk=2))) == 1
    assert run(dropout=True)[0] != run()[0]
    assert run(dropout=True)[0] == run(dropout=True)[0]


def test_engines_draw_the_same_masks():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 1))
    x = torch.randn(8, 4)
    directions = random_directions(model, 1)
    a, b = (
        evaluate(model, lambda: model(x).square().sum(), directions, line(3), engine=engine, dropout=True).losses
        for engine in ENGINES
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_norm_policies(engine):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, _, objective = _objective()
    for _ in range(3):
        model(x + 1)
    directions = random_directions(model, 1)

    def by_hand(prepare):
        losses = []
        for c in line(3).coordinates:
            twin = copy.deepcopy(model).eval()
            with torch.no_grad():
                for name, p in twin.named_parameters():
                    p.add_(directions.tensors[name][0], alpha=float(c[0]))
                prepare(twin)
                losses.append(sum(float(F.cross_entropy(twin(a), b)) * len(b) for a, b in objective.loader) / len(x))
        return losses

    def recalibrate(twin):
        twin[1].reset_running_stats()
        twin[1].momentum = None
        twin[1].train()
        for a, _ in objective.loader:
            twin(a)
        twin[1].eval()

    for policy, prepare in {
        "eval": lambda _: None,
        "batch": lambda t: t[1].train(),
        "recalibrate": recalibrate,
    }.items():
        found = evaluate(model, objective, directions, line(3), engine=engine, batch_norm=policy)
        np.testing.assert_allclose(found.losses, by_hand(prepare), rtol=1e-12, err_msg=policy)
        assert found.provenance["engine"] == ("inplace" if policy == "recalibrate" else engine)


def test_batches_of_any_structure():
    class Dictionary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Embedding(7, 7)

        def forward(self, input_ids, labels):
            return {"loss": F.cross_entropy(self.body(input_ids).flatten(0, 1), labels.flatten())}

    model = Dictionary()
    batch = {"input_ids": torch.randint(7, (3, 4)), "labels": torch.randint(7, (3, 4))}
    objective = Objective(lambda model, batch: model(**batch)["loss"], [batch, batch])
    surface = evaluate(model, objective, random_directions(model), grid(3))
    assert surface.center == pytest.approx(model(**batch)["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("name", ["recurrent", "compiled"])
def test_batched_falls_back_and_says_so_once(name, caplog):
    model, batch = MODELS[name]()
    directions = random_directions(model, 1)
    with caplog.at_level(logging.INFO, logger="lrscape"):
        for _ in range(2):
            other = evaluate(model, lambda: loss_of(model, batch), directions, line(3), engine="batched")
    expected = evaluate(model, lambda: loss_of(model, batch), directions, line(3), engine="inplace")
    np.testing.assert_allclose(other.losses, expected.losses, rtol=1e-5)
    assert len([record for record in caplog.records if record.name == "lrscape"]) <= 1


@pytest.mark.parametrize("kind", ["branch", "other object"])
def test_closures_that_vmap_gets_wrong_fall_back(kind):
    model = nn.Linear(3, 1)
    x = torch.randn(4, 3)
    if kind == "branch":

        def closure():
            out = model(x).sum()
            return out if out > 0 else -2 * out

    else:
        alias = nn.Linear(3, 1)
        alias.weight, alias.bias = model.weight, model.bias  # shares the tensors, but is not the model

        def closure():
            return alias(x).sum()

    directions = random_directions(model, 1)
    surface = evaluate(model, closure, directions, line(5), engine="batched")
    assert surface.provenance["engine"] == "inplace"
    expected = evaluate(model, closure, directions, line(5), engine="inplace").losses
    assert np.array_equal(surface.losses, expected)
    assert len(np.unique(expected)) == 5


def test_auto_is_a_fixed_rule():
    small, big = nn.Linear(10, 10), nn.Linear(300, 300)
    assert fixed_engine(small, movable(small)) == "batched"
    assert fixed_engine(big, movable(big)) == "inplace"
    conv, recurrent = nn.Conv2d(1, 1, 3), nn.LSTM(2, 2)
    assert fixed_engine(conv, movable(conv)) == "inplace"
    assert fixed_engine(recurrent, movable(recurrent)) == "inplace"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_is_a_value(engine):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    directions = directions_from_vectors(model, torch.ones(1))
    surface = evaluate(model, lambda: model.weight.sum().log(), directions, line(5, 2.0), engine=engine)
    assert np.isnan(surface.losses[0])
    assert surface.losses[1] == -np.inf
    assert surface.center == 0


def _linear():
    model = nn.Linear(2, 1)
    return model, random_directions(model, 2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("closure", "kind", "message"),
    [
        (lambda model: 1.5, TypeError, "must return a 0-d torch.Tensor, got float"),
        (lambda model: model.weight, ValueError, r"got shape \(1, 2\); reduce it"),
        (lambda model: model.weight.sum() * 1j, ValueError, "real number"),
        (lambda model: model.weight.sum().backward(), ValueError, "calls backward"),
    ],
)
def test_bad_closures(engine, closure, kind, message):
    model, directions = _linear()
    with pytest.raises(kind, match=message):
        evaluate(model, lambda: closure(model), directions, grid(3), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("loss", "kind", "message"),
    [
        (lambda out: "x", TypeError, r"loss_fn must return a 0-d tensor .* a 1-D one .* pair \(sum, count\), got str"),
        (lambda out: {"loss": out.sum()}, TypeError, r"pair \(sum, count\), got dict; return its loss alone$"),
        (lambda out: out.reshape(2, 3, 1), ValueError, r"pair \(sum, count\), got shape \(2, 3, 1\); .* losses\.numel"),
        (lambda out: (out.sum(), 6, 1), ValueError, r"pair \(sum, count\), got a tuple of 3; return the loss alone"),
        (lambda out: (6.0, 6), TypeError, r"a 0-d torch.Tensor as the sum of its pair \(sum, count\), got float"),
    ],
)
def test_what_a_loss_may_return_is_listed(engine, loss, kind, message):
    model, directions = _linear()
    objective = Objective(lambda model, batch: loss(model(batch)), [torch.ones(6, 2)])
    with pytest.raises(kind, match=message):
        evaluate(model, objective, directions, grid(3), engine=engine)


def test_backward_under_enable_grad_is_seen_and_leaves_no_gradient():
    model, directions = _linear()
    model.weight.grad = torch.ones_like(model.weight)

    def closure():
        with torch.enable_grad():
            loss = model.weight.sum()
            loss.backward()
        return loss

    with pytest.raises(ValueError, match="calls backward"):
        evaluate(model, closure, directions, grid(3), engine="inplace")
    assert torch.equal(model.weight.grad, torch.ones_like(model.weight))
    assert model.bias.grad is None


def test_an_error_of_the_closures_own_comes_through():
    model, directions = _linear()

    def closure():
        raise RuntimeError("the sensor is off")

    for engine in ENGINES:
        with pytest.raises(RuntimeError, match="the sensor is off"):
            evaluate(model, closure, directions, grid(3), engine=engine)


def test_bad_arguments_are_named():
    model, directions = _linear()

    def closure():
        return model.weight.sum()

    with pytest.raises(ValueError, match="points have 1 coordinates each, but there are 2 directions"):
        evaluate(model, closure, directions, line(3))
    with pytest.raises(ValueError, match="engine must be"):
        evaluate(model, closure, directions, grid(3), engine="fast")
    with pytest.raises(ValueError, match="batch_norm must be one of"):
        evaluate(model, closure, directions, grid(3), batch_norm="train")
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        evaluate(model, closure, directions, grid(3), chunk=0)
    with pytest.raises(TypeError, match="model must be"):
        evaluate(closure, closure, directions, grid(3))
    with pytest.raises(TypeError, match="points must be"):
        evaluate(model, closure, directions, np.zeros((3, 2)))
    with pytest.raises(TypeError, match="directions must be"):
        evaluate(model, closure, [torch.ones(3)], grid(3))
    with pytest.raises(TypeError, match="objective must be"):
        evaluate(model, 3.0, directions, grid(3))
    with pytest.raises(ValueError, match=r"move weight with shape \(1, 2\), but the model's has \(1, 3\)"):
        evaluate(nn.Linear(3, 1), closure, directions, grid(3))
    with pytest.raises(ValueError, match="which Sequential does not have"):
        evaluate(nn.Sequential(nn.Linear(2, 1)), closure, directions, grid(3))


def test_bad_objectives_are_named():
    def loss(model, batch):
        return model(batch).sum()

    with pytest.raises(TypeError, match="readable more than once, got the iterator"):
        Objective(loss, iter([torch.ones(1, 2)]))
    with pytest.raises(TypeError, match="loader must be an iterable"):
        Objective(loss, 3)
    with pytest.raises(TypeError, match="loss_fn must be a function"):
        Objective(None, [])
    with pytest.raises(ValueError, match="must not be called 'loss'"):
        Objective(loss, [], metrics={"loss": loss})
    model, directions = _linear()
    with pytest.raises(ValueError, match="loader gave no batch"):
        evaluate(model, Objective(loss, []), directions, grid(3))
    with pytest.raises(ValueError, match="tuple of 3"):
        evaluate(model, Objective(lambda model, batch: (1, 2, 3), [torch.ones(1, 2)]), directions, grid(3))


def test_provenance_says_where_a_surface_comes_from(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).requires_grad_(True)
    model[1].weight.requires_grad_(False)
    surface = evaluate(model, lambda: model[0].weight.sum(), random_directions(model, 2, seed=4), grid(3, 0.7))
    for key, value in {"seed": 4, "norm": "filter", "span": 0.7, "left_out": ["1.weight"], "chunk": 9}.items():
        assert surface.provenance[key] == value
    # biases have zero directions by default, so that they stay where they are
    assert (surface.provenance["parameters_moved"], surface.provenance["parameters_total"]) == (4, 9)
    assert surface.provenance["at_rest"] == ["0.bias", "1.bias"]
    assert surface.provenance["torch"] == torch.__version__
    surface.save(tmp_path / "s.npz")
    assert LossSurface.load(tmp_path / "s.npz").provenance == surface.provenance


def test_progress_bar_counts_passes(capsys):
    model, directions = _linear()
    evaluate(model, lambda: model.weight.sum(), directions, grid(3), progress=True, engine="inplace")
    assert "9/9" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_adapter_moves(engine):
    """A LoRA-style layer: frozen weight plus a trainable product of low rank."""

    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(6, 4).requires_grad_(False)
            self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 4, bias=False)
            self.register_buffer("seen", torch.zeros(3, dtype=torch.int32))

        def forward(self, x):
            self.seen += 1
            return self.base(x) + self.up(self.down(x))

    model, x = Adapted().double(), torch.randn(5, 6, dtype=torch.float64)
    directions = random_directions(model, 2)
    assert set(directions.tensors) == {"down.weight", "up.weight"}
    assert set(directions.left_out) == {"base.weight", "base.bias"}
    surface = evaluate(model, lambda: model(x).square().mean(), directions, grid(3), engine=engine)
    expected = loop(model, lambda twin: twin(x).square().mean(), directions, surface.coordinates)
    np.testing.assert_allclose(surface.losses, expected, rtol=1e-12)
    assert model.seen.tolist() == [0, 0, 0]
    frozen = random_directions(model, 1, parameters=["base"])
    moved = evaluate(model, lambda: model(x).square().mean(), frozen, line(3), engine=engine)
    np.testing.assert_allclose(
        moved.losses, loop(model, lambda twin: twin(x).square().mean(), frozen, line(3).coordinates), rtol=1e-12
    )


def test_transformers_style_model_whose_output_carries_the_loss():
    """A dict batch, an output object with .loss, and a loss weighted by tokens."""
    from types import SimpleNamespace

    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 9)

        def forward(self, input_ids, labels):
            logits = self.table(input_ids)
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
            return SimpleNamespace(loss=loss, logits=logits)

    def tokens(model, batch):
        count = (batch["labels"] != -100).sum()
        return model(**batch).loss * count, count

    model = Causal().double()
    stream = torch.Generator().manual_seed(1)
    batches = []
    for length in (3, 7):
        codes = torch.randint(9, (2, length), generator=stream)
        batches.append({"input_ids": codes, "labels": codes.masked_fill(codes > 6, -100)})
    surface = evaluate(model, Objective(tokens, batches), random_directions(model), grid(3))
    with torch.no_grad():
        sums = [F.cross_entropy(model.table(b["input_ids"]).flatten(0, 1), b["labels"].flatten(), reduction="sum",
                                ignore_index=-100) for b in batches]  # fmt: skip
    count = sum(int((b["labels"] != -100).sum()) for b in batches)
    assert surface.center == pytest.approx(float(sum(sums)) / count, rel=1e-12)
