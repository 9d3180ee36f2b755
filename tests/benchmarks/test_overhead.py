"""Overhead is composed rightly from clock readings, finished cells are kept, and the models are what they are named."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lrscape.benchmarks import overhead, overhead_loop, overhead_modes
from lrscape.benchmarks.overhead_clock import Parts, clock_of, measure
from lrscape.benchmarks.overhead_models import SUBJECTS, Subject, VisionTransformer, images, loss, losses
from lrscape.benchmarks.overhead_modes import MODES, Arm
from lrscape.schedulers import layer_param_groups

OURS = [mode for mode in MODES if not mode.startswith("topoadamw")]


class Watch:
    """A clock that goes on only when told to."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def taking(self, name, seconds):
        def call(*_, **__):
            self.now += seconds
            self.calls.append(name)

        return call


class Slow(nn.Module):
    """One layer, whose forward pass takes time by a watch."""

    def __init__(self, watch, seconds):
        super().__init__()
        self.layer, self.wait = nn.Linear(2, 3), watch.taking("core", seconds)

    def forward(self, x):
        self.wait()
        return self.layer(x)


BATCHES = [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))]


def arm(watch, **options):
    base = SimpleNamespace(step=watch.taking("base", 1.0))
    return Arm(base, watch.taking("tail", 3.0), **options)


def composed(parts, frequency):
    quartiles = {"every_step": overhead.quartiles(parts.every_step()), "probe": overhead.quartiles(parts.probes())}
    return overhead.overhead({"what": "composed", "frequency": frequency, **quartiles})


def test_overhead_is_what_every_step_and_its_share_of_probes_take():
    watch = Watch()
    probing = arm(watch, probe=watch.taking("probe", 50.0), frequency=1 / 25)
    parts = measure(Slow(watch, 9.0), probing, BATCHES, watch, rounds=3)
    assert parts == Parts([9.0] * 3, [1.0] * 3, [3.0] * 3, [], [50.0] * 3)
    assert parts.every_step() == pytest.approx([0.2] * 3)
    assert parts.probes() == pytest.approx([5.0] * 3)
    assert composed(parts, 1 / 25) == pytest.approx([0.4] * 3)  # (3 − 1 + 50/25)/(9 + 1)


def test_training_is_shared_between_the_probes_that_it_comes_with():
    watch = Watch()
    trained = arm(watch, probe=watch.taking("probe", 50.0), frequency=1 / 25, training=watch.taking("training", 250.0))
    parts = measure(Slow(watch, 9.0), trained, BATCHES, watch, rounds=2)
    assert watch.calls.count("training") == 1
    assert composed(parts, 1 / 25) == pytest.approx([0.2 + (5 + 1) / 25] * 3)


def test_a_pass_of_its_own_counts_instead_of_the_plain_one():
    watch = Watch()
    own = arm(watch, core=watch.taking("own", 19.0))
    assert measure(Slow(watch, 9.0), own, BATCHES, watch, rounds=2).every_step() == pytest.approx([1.2] * 2)


def test_who_steps_first_changes_and_the_round_before_has_no_probe():
    watch = Watch()
    measure(Slow(watch, 9.0), arm(watch, probe=watch.taking("probe", 50.0)), BATCHES, watch, rounds=2)
    plain_first, ours_first = ["core", "base", "tail"], ["core", "tail", "base"]
    assert watch.calls == [*plain_first, *plain_first, "probe", *ours_first, "probe"]


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (62.0, 1), (63.0, 2), (1000.0, 5)])
def test_no_round_begins_after_the_time_is_up(seconds, rounds):
    watch = Watch()
    probing = arm(watch, probe=watch.taking("probe", 50.0))
    parts = measure(Slow(watch, 9.0), probing, BATCHES, watch, rounds=5, seconds=seconds)
    assert len(parts.core) == len(parts.probe) == rounds


def test_the_processor_is_timed_unless_the_wall_is_asked_for():
    assert clock_of(torch.device("cpu"))[0] == "processor"
    assert clock_of(torch.device("cpu"), wall=True)[0] == "wall"


def test_a_loop_is_compared_with_the_plain_one_beside_it(monkeypatch):
    watch = Watch()
    monkeypatch.setitem(overhead_loop.LOOPS, "slower", lambda _: watch.taking("slower", 1.5))
    found = overhead_loop.ratios(lambda: Slow(watch, 1.0), ["slower"], BATCHES, watch, rounds=2)
    assert found == {"slower": pytest.approx([0.5, 0.5])}


def test_each_round_of_a_loop_has_one_probe(monkeypatch):
    found = []
    monkeypatch.setattr(overhead_loop.TopoLR, "observe", lambda _, measurement: found.append(measurement))
    step = overhead_loop.LOOPS["TopoLR, quarter of the batch"](nn.Linear(2, 3))
    for number in range(3 * overhead_loop.ROUND):
        step(BATCHES[0])
        assert len(found) == (number + 1) // overhead_loop.ROUND


def test_parameters():
    count = {name: sum(p.numel() for p in subject.make().parameters()) for name, subject in SUBJECTS.items()}
    width, tokens = 192, 65
    block = 12 * width**2 + 13 * width  # attention 4w² + 4w, perceptron 8w² + 5w, two norms 4w
    vit = (3 * 4 * 4 + 1) * width + (1 + tokens) * width + 12 * block + 2 * width + 10 * (width + 1)
    assert count["CifarNet"] == 1_147_914
    assert count["ResNet-18"] == 11_173_962
    assert count["ViT-Tiny"] == vit
    assert count["transformer"] == pytest.approx(10_000_000, rel=0.05)


@pytest.mark.parametrize("name", SUBJECTS)
def test_losses_are_one_per_prediction(name):
    subject = SUBJECTS[name]
    torch.manual_seed(0)
    model, batch = subject.make().eval(), subject.draw(2)
    with torch.no_grad():
        each = losses(model, batch)
        assert each.shape == (batch[1].numel(),)
        classes = model(batch[0]).shape[-1]
        assert loss(model, batch).item() == pytest.approx(each.mean().item())
    assert each.mean().item() == pytest.approx(math.log(classes), rel=0.5)  # nothing has been learned


def test_a_vision_transformer_sees_where_patches_are():
    torch.manual_seed(0)
    model, (x, _) = VisionTransformer(depth=1).eval(), images(2)
    assert not torch.allclose(model(x), model(x.flip(2)))


@pytest.fixture
def small(monkeypatch):
    """A model on which everything is quick, instead of CifarNet."""

    def make():
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 10))

    monkeypatch.setitem(SUBJECTS, "CifarNet", Subject("CifarNet", make, images, 8))
    monkeypatch.setattr(overhead_modes, "KEPT", 4)
    return make


FREQUENCIES = {
    "TopoLR": 1 / 100,
    "TopoLR, published": 1 / 50,
    "TopoCNNLR": 1 / 200,
    "HomotopyLR": 1 / 200,
    "HomotopyLR, kappa": 1 / 10,
    "PerLayerHomotopyLR": 1 / (60 * (2 + 1)),
    "CurvatureWarmup": 5 / math.ceil(math.log(100) / math.log(1.01)),  # at 0, 12, 50, 200 and 400
    "ValleyLR, ascent": 1.0,
    "ValleyLR, held": 2 / 512,  # at 512 and 768
    "RiverLR": 0.0,
}


@pytest.mark.parametrize("mode", OURS)
def test_every_mode_can_be_timed(mode, small):
    torch.manual_seed(0)
    model = small()
    before = [p.detach().clone() for p in model.parameters()]
    made = MODES[mode](model)
    parts = measure(model, made, [images(8), images(8)], clock_of(torch.device("cpu"))[1], rounds=2)
    assert all(math.isfinite(value) for value in [*parts.every_step(), *parts.probes()])
    assert len(parts.probe) == (2 if made.probe is not None else 0)
    assert made.frequency == pytest.approx(FREQUENCIES.get(mode, made.frequency))
    assert all(
        p.isfinite().all() and not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)
    )


def test_groups_of_layers(small):
    assert len(layer_param_groups(small())) == 2  # what the frequency above counts with


def test_a_probe_on_a_quarter_sees_a_quarter(small):
    model = small()
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    MODES["TopoLR, quarter of the batch"](model).probe(images(8))
    assert seen
    assert set(seen) == {2}


def test_finished_cells_are_not_repeated(small, tmp_path):
    path = tmp_path / "overhead.jsonl"
    command = ["--models", "CifarNet", "--rounds", "1", "--results", str(path), "--modes"]
    overhead.main([*command, "TopoLR"])
    first = path.read_text()
    path.write_text(first + '{"what": "comp')  # cut off
    overhead.main([*command, "TopoLR", "RiverLR"])
    lines = path.read_text().splitlines()
    assert lines[0] + "\n" == first
    assert [json.loads(line)["mode"] for line in lines] == ["TopoLR", "RiverLR"]
    overhead.main([*command, "TopoLR", "--again"])
    assert len(path.read_text().splitlines()) == 3
    assert len(overhead.read(path)) == 2
    overhead.main([*command, "SAM", "--minutes", "0"])
    assert len(path.read_text().splitlines()) == 3


def cell(mode, **changes):
    head = {
        "what": "composed",
        "model": "CifarNet",
        "mode": mode,
        "device": "cpu",
        "hardware": "x",
        "kind": "processor",
    }
    rest = {"torch": "2", "threads": 1, "batch": 128, "parameters": 1_147_914, "step_seconds": [0.1, 0.2, 0.3]}
    rest |= {"frequency": 0.02, "every_step": [0.0, 0.0, 0.001]}
    return head | rest | {"probe": [2.5, 3.0, 3.5]} | changes


def test_tables():
    river = cell("RiverLR", frequency=0.0, every_step=[1.0, 1.5, 2.0])
    del river["probe"]
    loop = cell("TopoLR", what="loop", overhead=[0.055, 0.061, 0.08])
    records = [river, cell("TopoLR"), cell("TopoLR", model="ResNet-18", batch=32, frequency=0.1), loop]
    text = overhead.report(records).splitlines()
    assert "| | CifarNet, 128: 200 ms | ResNet-18, 32: 200 ms |" in text
    assert "| TopoLR | 6.0 % (5.0–7.1) | 30.0 % (25.0–35.1) |" in text
    assert "| RiverLR | 150 % (100–200) | – |" in text
    assert "| | a probe, in steps | one in … steps | added at every step | overhead |" in text
    assert "| TopoLR | 3.00 (2.50–3.50) | 50 | 0.0 % (0.0–0.1) | 6.0 % (5.0–7.1) |" in text
    assert "| RiverLR | – | – | 150 % (100–200) | 150 % (100–200) |" in text
    assert "| TopoLR | 6.0 % (5.0–7.1) | 6.1 % (5.5–8.0) |" in text


def test_kept_results_agree_with_the_defaults():
    kept = overhead.read(overhead.RESULTS).values()
    assert kept
    for record in kept:
        assert record["model"] in SUBJECTS
        if record["what"] == "composed":
            assert (record["frequency"] > 0) == ("probe" in record)
            if record["mode"] in FREQUENCIES and not record["mode"].startswith("PerLayer"):
                assert record["frequency"] == pytest.approx(FREQUENCIES[record["mode"]])
