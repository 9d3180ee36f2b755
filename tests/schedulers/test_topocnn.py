"""TopoCNNLR as published and corrected, decided on surfaces that are known."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrscape.landscape import LossSurface, grid
from lrscape.schedulers import TopoCNN, TopoCNNLR, TopoCNNMeasurement, published_rule
from lrscape.schedulers.topocnn_measurement import read_probe
from lrscape.schedulers.topocnn_surfaces import balanced

SMALL = {"min_samples": 12, "retrain_every": 6, "train_steps": 3, "buffer_capacity": 16}


def start(**options):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return TopoCNNLR(optimizer, model, interval=1, warmup=0, **options)


def surface(values, span=0.12):
    values = np.asarray(values, dtype=np.float64)
    points = grid(len(values), span)
    return LossSurface(points.coordinates, values.ravel(), points.shape)


def bowl(steepness, side=15):
    """With steepness k the loss rises from 1 to 1 + k in the corners; sharpness at 15×15 is .75·k/49."""
    c = grid(side, 1.0).coordinates
    return (1 + steepness * (c**2).sum(1) / 2).reshape(side, side)


def rugged():
    """A ripple on a bowl: a wall of a third of the loss, and gentle in the middle."""
    c = grid(15, 1.0).coordinates
    return (1 + 0.3 * np.cos(9 * c[:, 0]) * np.cos(9 * c[:, 1])).reshape(15, 15)


def test_every_factor_of_equation_4_can_be_reached():
    surfaces = {
        "flat": bowl(1e-3), "moderately sharp": bowl(22), "very sharp": bowl(60), "rugged": rugged(), "neutral": bowl(9)
    }  # fmt: skip
    factors = {"flat": 1.15, "neutral": 1.0, "moderately sharp": 0.95, "rugged": 0.85, "very sharp": 0.8}
    for name, values in surfaces.items():
        scheduler = start(max_ratio=2.0)
        decision = scheduler.observe(read_probe(surface(values), published=False))
        assert decision.reason == name
        assert decision.factors == pytest.approx([factors[name]])


def test_history_holds_numbers_and_the_probe_an_image():
    found = read_probe(surface(rugged()), published=False)
    assert found.image.shape == (2, 50, 50)
    assert all(type(value) is float for value in asdict(found).values())
    assert set(start().observe(found).measurement) == {"loss", "sharpness", "variance", "barrier", "basins", "loops"}
    assert found.basins > 1
    assert found.loops > 0
    flat = read_probe(surface(bowl(1.0)), published=False)
    assert (flat.basins, flat.loops, flat.barrier) == (1, 0, 0)


@pytest.mark.parametrize("side", [7, 15, 31])
def test_sharpness_is_the_same_on_any_grid_unless_published(side):
    values = surface(bowl(10.0, side))
    assert read_probe(values, published=False).sharpness == pytest.approx(0.75 * 10 / 49)
    assert read_probe(values, published=True).sharpness == pytest.approx(0.75 * 10 / ((side - 1) / 2) ** 2)


class Reference:
    """The published controller in a few lines, on the measurements of a probe."""

    def __init__(self, seed, min_samples, retrain_every, train_steps, buffer_capacity):
        torch.manual_seed(seed)
        self.network = TopoCNN()
        self.adam = torch.optim.Adam(self.network.parameters(), lr=1e-3, weight_decay=1e-4)
        self.least, self.every, self.steps, self.most = min_samples, retrain_every, train_steps, buffer_capacity
        self.images, self.labels, self.since, self.trained, self.mean, self.rate = [], [], 0, 0, None, 1.0

    def observe(self, found):
        s, v = found.sharpness, found.variance
        self.images = [*self.images, torch.tensor(found.image)][-self.most :]
        self.labels = [*self.labels, 0 if s < 0.1 and v < 0.3 else 2 if s > 0.2 or v > 0.5 else 1][-self.most :]
        self.since += 1
        if len(self.images) >= self.least and self.since >= self.every:
            for _ in range(self.steps):
                self.adam.zero_grad()
                F.cross_entropy(self.network(torch.stack(self.images)), torch.tensor(self.labels)).backward()
                self.adam.step()
            self.since, self.trained = 0, self.trained + 1
        with torch.no_grad():
            said = int(self.network(torch.tensor(found.image)[None]).argmax())
        factor = (1.15, 1.0, 0.85)[said] if self.trained else published_rule(s, v)[0]
        self.mean = found.loss if self.mean is None else 0.2 * found.loss + 0.8 * self.mean
        if found.loss > 2 * self.mean:
            factor = 0.8
        if abs(factor - 1) > 0.05:
            self.rate = max(min(self.rate * factor, 1.0), 0.2)
        return self.rate


def test_published_preset_follows_the_published_code():
    scheduler = start(preset="published", seed=3, **SMALL)
    with torch.random.fork_rng():
        reference = Reference(3, **SMALL)
    _, surfaces, _ = balanced(8, seed=4)
    order = np.random.default_rng(0).permutation(len(surfaces))
    for values in surfaces[order]:
        found = read_probe(surface(values[1::2, 1::2]), published=True)
        assert scheduler.observe(found).factors == pytest.approx([reference.observe(found)], rel=1e-12)
    assert reference.trained == 5
    for a, b in zip(scheduler.network.parameters(), reference.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_published_defaults():
    scheduler = start(preset="published")
    assert (scheduler.grid_size, scheduler.span, scheduler.bias) == (7, 0.12, "match")
    assert (scheduler.min_ratio, scheduler.max_ratio) == ([0.2], [1.0])
    assert scheduler.network.classes == 3


def measured(loss, sharp=0.15, image=None):
    return TopoCNNMeasurement(loss, sharp, 0.1, 0.0, 1.0, 0.0, image)


@pytest.mark.parametrize(("preset", "threshold"), [("published", 1.6 / 0.6), ("corrected", 2.0)])
def test_brake_compares_before_it_takes_the_loss_in(preset, threshold):
    for loss, reason in ((threshold * 1.001, "brake"), (threshold * 0.999, "neutral (rule)")):
        scheduler = start(preset=preset)
        scheduler.observe(measured(1.0))
        assert scheduler.observe(measured(loss)).reason == reason


def test_without_an_image_the_rule_decides_and_nothing_is_learned():
    for preset in ("published", "corrected"):
        scheduler = start(preset=preset)
        assert scheduler.observe(measured(1.0, sharp=0.6)).reason == "very sharp (rule)"
        assert scheduler.factors == [0.8]
        assert scheduler.state_dict()["trainer"]["labels"] == []


def test_probes_that_are_not_finite_are_never_learned_from():
    for preset in ("published", "corrected"):
        for place in (0, 112):
            values = bowl(1.0)
            values.flat[place] = math.inf
            scheduler = start(preset=preset)
            with pytest.warns(RuntimeWarning, match="not finite"):
                decision = scheduler.observe(read_probe(surface(values), published=preset == "published"))
            assert (decision.reason, decision.factors) == ("non-finite", [0.8])
            assert scheduler.state_dict()["trainer"]["labels"] == []
            assert scheduler._average is None


def test_corrected_network_does_not_unlearn_on_a_flat_stretch_as_the_published_does():
    said = {}
    for preset in ("published", "corrected"):
        scheduler = start(preset=preset, min_samples=30, retrain_every=30)
        published = preset == "published"
        for k in range(30):
            scheduler.observe(read_probe(surface(bowl(0.01 + k / 400)), published=published))
        said[preset] = scheduler.observe(read_probe(surface(bowl(60)), published=published)).reason
    assert said == {"published": "flat", "corrected": "very sharp"}


def test_training_leaves_random_states_and_settings_alone():
    scheduler = start(**SMALL)
    found = read_probe(surface(rugged()), published=False)
    torch.manual_seed(0)
    np.random.seed(0)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(13):
            scheduler.observe(found)
    assert scheduler.state_dict()["trainer"]["trainings"] == 1
    assert all(p.dtype == torch.float32 and not p.is_inference() for p in scheduler.network.parameters())
    numbers = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    assert numbers == (torch.rand(1), np.random.rand())


def test_a_probe_costs_the_points_of_its_grid():
    scheduler = start(engine="inplace", grid_size=5)
    calls = []

    def closure():
        calls.append(1)
        return scheduler.model.weight.square().sum()

    scheduler.optimizer.step()
    scheduler.probe(closure)
    assert len(calls) == 25
    assert scheduler.probe(closure) is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"preset": "best"}, "preset"),
        ({"grid_size": 6}, "odd"),
        ({"brake": 1.0}, "brake"),
        ({"span": -1.0}, "span"),
        ({"min_samples": 0}, "min_samples"),
        ({"buffer_capacity": 50}, "buffer_capacity must be at least min_samples, got 50 and 100"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        start(**options)


def test_states_of_another_preset_are_refused():
    with pytest.raises(ValueError, match=r"classifier\.3\.weight.*preset"):
        start().load_state_dict(start(preset="published").state_dict())
    with pytest.raises(ValueError, match="trainer missing"):
        start().load_state_dict({})
