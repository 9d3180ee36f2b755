import json
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from examples import MODELS, loss_of
from torch.utils.data import DataLoader, TensorDataset
from traces import state

from lrscape.landscape import (
    Objective,
    directions_from_vectors,
    evaluate,
    evaluate_adaptive,
    grid,
    random_directions,
    scan_state,
)
from lrscape.landscape.partial_scan import PartialScan
from lrscape.landscape.random_state import give_state, take_state


class Cut(Exception):
    pass


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(scan_state, "BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(scan_state, "SAVING", 1e9)


def shuffled(n=40):
    """A loader whose order and whose examples are drawn anew at each pass."""
    stream = torch.Generator().manual_seed(5)
    data = TensorDataset(torch.randn(n, 4, generator=stream), torch.randint(3, (n,), generator=stream))
    return DataLoader(data, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1))


def cut_at(number, function=loss_of):
    calls = iter(range(10**9))

    def loss(model, batch):
        if next(calls) == number:
            raise Cut
        return function(model, batch)

    loss.__qualname__, loss.__module__ = function.__qualname__, function.__module__
    return loss


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("engine", ["inplace", "batched", "threads"])
@pytest.mark.parametrize("at", [0, 1, 2, 30, 70, 100])
def test_a_scan_that_was_cut_off_goes_on_bit_for_bit(engine, at, tmp_path):
    model, _ = MODELS["tabular"]()
    directions, how = random_directions(model, 2), {"engine": engine, "chunk": 4, "threads": 2}
    metrics = {"accuracy": lambda m, b: (m(b[0]).argmax(1) == b[1]).float().mean()}
    whole = evaluate(model, Objective(loss_of, shuffled(), metrics), directions, grid(7), **how)
    file, before = tmp_path / "scan.partial", state(model)
    try:
        evaluate(model, Objective(cut_at(at), shuffled(), metrics), directions, grid(7), partial=file, **how)
    except Cut:
        assert file.exists() == (at > 2 and bool(PartialScan.load(file).done.any()))
    assert state(model) == before
    random.seed(at)
    torch.manual_seed(at)  # another process starts from another random state
    loader = shuffled()
    loader.generator.manual_seed(77)
    found = evaluate(model, Objective(loss_of, loader, metrics), directions, grid(7), partial=file, **how)
    if at > 30 and engine != "batched":
        assert found.provenance["resumed"] > 0
        assert np.array_equal(found.losses, whole.losses)
    if not found.provenance.get("resumed"):
        return  # nothing was saved: another random state is another scan
    assert np.array_equal(found.losses, whole.losses)
    assert np.array_equal(found.metrics["accuracy"], whole.metrics["accuracy"])
    assert np.array_equal(found.standard_error, whole.standard_error)


@pytest.mark.usefixtures("often")
def test_a_finished_file_gives_the_surface_without_a_pass(tmp_path):
    model, batch = MODELS["tabular"]()
    directions, file = random_directions(model, 2), tmp_path / "scan.partial"
    first = evaluate(model, Objective(loss_of, [batch]), directions, grid(5), partial=file)
    again = evaluate(model, Objective(cut_at(0), [batch]), directions, grid(5), partial=file)
    assert np.array_equal(first.losses, again.losses)
    assert again.provenance["resumed"] == 25


@pytest.mark.usefixtures("often")
def test_closures_resume_too(tmp_path):
    model, batch = MODELS["tabular"]()
    directions, file = random_directions(model, 2), tmp_path / "scan.partial"
    cut = cut_at(11)
    with pytest.raises(Cut):
        evaluate(model, lambda: cut(model, batch), directions, grid(5), partial=file, engine="inplace")
    found = evaluate(model, lambda: loss_of(model, batch), directions, grid(5), partial=file, engine="inplace")
    assert found.provenance["resumed"] > 0
    assert np.array_equal(
        found.losses, evaluate(model, lambda: loss_of(model, batch), directions, grid(5), engine="inplace").losses
    )


@pytest.mark.usefixtures("often")
def test_an_interrupt_saves_what_is_done(tmp_path):
    model, batch = MODELS["tabular"]()
    file, calls = tmp_path / "scan.partial", iter(range(100))

    def loss(m, b):
        if next(calls) == 9:
            signal.raise_signal(signal.SIGINT)
        return loss_of(m, b)

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, Objective(loss, [batch]), random_directions(model, 2), grid(5), partial=file, engine="inplace")
    assert PartialScan.load(file).done.any()


def mean_error(model, batch):
    return F.mse_loss(model(batch[0]), F.one_hot(batch[1], 3).float())


@pytest.mark.usefixtures("often")
class TestAnotherScanIsRefused:
    @pytest.fixture
    def arguments(self):
        model, batch = MODELS["convolutional"]()
        return {
            "model": model, "objective": Objective(loss_of, [batch]), "directions": random_directions(model, 2),
            "points": grid(3), "engine": "inplace",
        }  # fmt: skip

    def changes(self, arguments):
        model, (x, y) = arguments["model"], arguments["objective"].loader[0]

        def parameters():
            with torch.no_grad():
                model[0].bias[0] += 1e-3

        yield "parameters", {}, parameters
        yield "buffers", {}, lambda: model[1].running_mean.add_(1.0)
        yield "directions", {"directions": random_directions(model, 2, seed=1)}, None
        yield "points", {"points": grid(3, 0.5)}, None
        yield "objective", {"objective": Objective(mean_error, [(x, y)])}, None
        yield "data", {"objective": Objective(loss_of, [(x + 1, y)])}, None
        yield "data", {"objective": Objective(loss_of, [(x, y), (x, y)])}, None
        yield "BatchNorm policy", {"batch_norm": "batch"}, None
        yield "dropout", {"dropout": True}, None
        yield "precision", {"autocast": torch.bfloat16}, None
        yield "engine", {"engine": "batched"}, None
        yield "chunk", {"chunk": 2}, None

    def test_and_the_message_says_what_differs(self, arguments, tmp_path):
        for i, (part, options, change) in enumerate(self.changes(arguments)):
            file = tmp_path / f"{i}.partial"
            evaluate(**arguments, partial=file)
            kept = {k: v.clone() for k, v in arguments["model"].state_dict().items()}
            if change is not None:
                change()
            with pytest.raises(ValueError, match=rf"of another scan: its {part} \(.*\) differs"):
                evaluate(**{**arguments, **options}, partial=file)
            assert PartialScan.load(file).done.all()  # nothing is overwritten
            arguments["model"].load_state_dict(kept)


@pytest.mark.parametrize("content", [b"", b"not a file of ours", b"PK\x03\x04 cut off"])
def test_a_file_of_something_else_is_named(content, tmp_path):
    file = tmp_path / "scan.partial"
    file.write_bytes(content)
    model, batch = MODELS["tabular"]()
    with pytest.raises(ValueError, match=r"scan\.partial is not a partial scan written by lrscape"):
        evaluate(model, Objective(loss_of, [batch]), random_directions(model, 2), grid(3), partial=file)
    assert file.read_bytes() == content


def test_a_newer_file_and_one_with_an_object_in_it_are_refused(tmp_path):
    file = tmp_path / "scan.partial"
    headers = [np.frombuffer(json.dumps(h).encode(), np.uint8) for h in ({"schema": 99}, {"schema": 1}, [])]
    for header in [*headers, np.array([{"schema": 1}], dtype=object)]:
        with file.open("wb") as opened:
            np.savez(opened, header=header)
        with pytest.raises(ValueError, match="is not a partial scan"):
            PartialScan.load(file)


@pytest.mark.usefixtures("often")
def test_an_adaptive_scan_goes_on_level_by_level(tmp_path):
    model, batch = MODELS["tabular"]()
    directions, file = random_directions(model, 2), tmp_path / "scan.partial"
    how = {"coarse": 6, "fine": 21, "span": 1.0, "engine": "inplace"}
    whole = evaluate_adaptive(model, Objective(loss_of, [batch]), directions, **how)
    with pytest.raises(Cut):
        evaluate_adaptive(model, Objective(cut_at(60), [batch]), directions, partial=file, **how)
    found = evaluate_adaptive(model, Objective(loss_of, [batch]), directions, partial=file, **how)
    assert np.array_equal(found.losses, whole.losses)
    assert len(list(tmp_path.iterdir())) >= 2


def test_progress_tells_rate_and_time_left_and_starts_where_the_file_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scan_state, "BETWEEN_SAVES", 0.0)
    model, batch = MODELS["tabular"]()
    directions, file = random_directions(model, 2), tmp_path / "scan.partial"
    how = {"partial": file, "engine": "inplace", "progress": True}
    with pytest.raises(Cut):
        evaluate(model, Objective(cut_at(20), [batch, batch]), directions, grid(5), **how)
    done = int(PartialScan.load(file).done.sum())
    capsys.readouterr()
    evaluate(model, Objective(loss_of, [batch, batch]), directions, grid(5), **how)
    shown = capsys.readouterr().err
    assert f"{2 * done}/50" in shown
    assert "50/50" in shown
    assert "pass/s" in shown


def test_random_state_survives_a_file():
    generators = [torch.Generator(), np.random.default_rng(3), np.random.RandomState(4), random.Random(5)]
    generators += [np.random.Generator(np.random.MT19937(6))]

    class Loader:
        def __init__(self, seed):
            for i, generator in enumerate(generators):
                setattr(self, f"held{i}", generator)
            self.seed = seed

    def draw():
        own = [torch.rand(2, generator=generators[0]).tolist(), generators[1].random(2).tolist()]
        own += [generators[2].rand(2).tolist(), [generators[3].random()], generators[4].normal(size=3).tolist()]
        return [random.random(), np.random.rand(), torch.rand(1).item(), *own]

    loader = Loader(0)
    text = json.dumps(take_state(loader))
    expected = draw()
    draw()
    give_state(json.loads(text), loader)
    assert draw() == expected
    with pytest.raises(ValueError, match="the loader has 0 random generators, but the state holds 5"):
        give_state(json.loads(text), None)


def killed(tmp_path, moments, seed):
    command = [sys.executable, str(Path(__file__).parent.parent / "support" / "killed_scan.py")]
    done = subprocess.run(
        [*command, str(tmp_path), str(moments), str(seed)], capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children that share what is loaded need fork")
@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_the_surface_is_the_same_bit_for_bit(moments, tmp_path):
    found = killed(tmp_path, moments, seed=moments)
    assert found["kills"] == moments
    assert found["same"]
    assert found["resumed"] > 0
    assert found["left_behind"] == ["scan.partial"]  # and no temporary file beside it


def test_no_file_no_logging_by_default(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    model, batch = MODELS["tabular"]()
    with caplog.at_level(logging.INFO, logger="lrscape"):
        evaluate(model, Objective(loss_of, [batch]), random_directions(model, 2), grid(3))
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_directions_of_vectors_are_told_apart_by_their_values(tmp_path):
    model = torch.nn.Linear(2, 1, bias=False)
    one, two = (directions_from_vectors(model, torch.tensor([[1.0, v]])) for v in (0.0, 1e-7))
    evaluate(model, lambda: model.weight.sum(), one, grid(3, dims=1), partial=tmp_path / "p")
    with pytest.raises(ValueError, match="its directions"):
        evaluate(model, lambda: model.weight.sum(), two, grid(3, dims=1), partial=tmp_path / "p")
