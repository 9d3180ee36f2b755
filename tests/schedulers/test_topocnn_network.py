"""TopoCNN reproduces the published network, learns online as published, and comes trained."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrscape.schedulers import TopoCNN
from lrscape.schedulers.topocnn_network import regime_image
from lrscape.schedulers.topocnn_regimes import (
    CORRECTED,
    PUBLISHED,
    barrier,
    corrected_label,
    published_label,
)
from lrscape.schedulers.topocnn_surfaces import FAMILIES, balanced, rehearsal
from lrscape.schedulers.topocnn_trainer import OnlineTrainer
from lrscape.tda import published_image

REFERENCE = Path(__file__).parent.parent / "reference"


def test_logits_of_the_published_code():
    expected = json.loads((REFERENCE / "topoadamw.json").read_text())["topocnn"]
    with np.load(REFERENCE / "topoadamw.npz") as arrays:
        image = torch.from_numpy(published_image(arrays["grid"]))[None]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = TopoCNN().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == expected["nparams"]
    assert network(image)[0].tolist() == pytest.approx(expected["logits_seed7"], abs=1e-6)
    before = torch.get_rng_state()
    assert torch.equal(TopoCNN.from_seed(7)(image), network(image))
    assert torch.equal(before, torch.get_rng_state())


def test_network_is_float32_on_the_cpu_whatever_the_defaults():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            network = TopoCNN.from_seed(0)
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(network.parameters(), TopoCNN.from_seed(0).parameters(), strict=True):
        assert a.device.type == "cpu"
        assert torch.equal(a, b)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 0)])
def test_network_refuses_bad_sizes(sizes):
    with pytest.raises(ValueError, match="classes must be at least 2"):
        TopoCNN(*sizes)


def test_labels():
    pairs = [(0.05, 0.1), (0.05, 0.4), (0.15, 0.1), (0.25, 0.1), (0.15, 0.6), (-0.3, 0.1)]
    assert [PUBLISHED[published_label(*pair)].factor for pair in pairs] == [1.15, 1.0, 1.0, 0.85, 0.85, 1.15]
    triples = [(0.05, 0.1, 0.0), (0.15, 0.1, 0.0), (0.3, 0.9, 0.05), (0.05, 0.1, 0.2), (0.6, 0.1, 0.2), (-0.3, 0.1, 0)]
    assert [CORRECTED[corrected_label(*t)].factor for t in triples] == [1.15, 1.0, 0.95, 0.85, 0.8, 1.0]


def test_barrier_is_stable_and_scale_free():
    _, surfaces, _ = balanced(3, seed=8)
    random = np.random.default_rng(0)
    for values in surfaces:
        height, _, _ = barrier(values)
        assert barrier(values * 1e3)[0] == pytest.approx(height, abs=1e-12)
        shaken = values * np.exp(0.01 * random.uniform(-1, 1, values.shape))
        assert abs(barrier(shaken)[0] - height) <= 0.02 + 1e-12


def test_pretrained_network_knows_surfaces_it_has_not_seen():
    _, surfaces, labels = balanced(30, seed=77)
    network = TopoCNN.pretrained()
    assert not network.training
    images = torch.from_numpy(np.stack([regime_image(values) for values in surfaces]))
    with torch.no_grad():
        right = (network(images).argmax(1) == torch.from_numpy(labels)).float().reshape(5, -1)
    assert right.mean() > 0.78  # 0.840 of 2,000 others in benchmarks/pretrain_topocnn.py


def test_surfaces_are_positive_repeatable_and_of_every_kind():
    names, surfaces, labels = balanced(20, seed=3)
    assert (surfaces > 0).all()
    assert np.isfinite(surfaces).all()
    assert set(names) == set(FAMILIES)
    assert np.bincount(labels).tolist() == [20] * 5
    assert np.array_equal(surfaces, balanced(20, seed=3)[1])


def images(count):
    random = np.random.default_rng(1)
    return random.random((count, 2, 8, 8), dtype=np.float32), random.integers(3, size=count).tolist()


def test_cadence_and_ring_buffer():
    trainer = OnlineTrainer(TopoCNN.from_seed(0), torch.device("cpu"), train_steps=1)
    pictures, labels = images(650)
    trained = []
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True), start=1):
        assert (trainer.predict(picture) is None) == (i <= 100)
        before = trainer.trainings
        trainer.add(picture, label)
        if trainer.trainings > before:
            trained.append(i)
    assert trained == list(range(100, 651, 25))
    assert len(trainer) == 500
    state = trainer.state()
    assert torch.equal(state["images"], torch.from_numpy(pictures[150:]))
    assert state["labels"] == labels[150:]


def test_a_training_is_twenty_full_steps_of_adam():
    trainer = OnlineTrainer(TopoCNN.from_seed(5), torch.device("cpu"), min_samples=6, retrain_every=6)
    pictures, labels = images(12)
    for picture, label in zip(pictures, labels, strict=True):
        trainer.add(picture, label)
    network = TopoCNN.from_seed(5)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    for size in [6] * 20 + [12] * 20:
        adam.zero_grad()
        F.cross_entropy(network(torch.from_numpy(pictures[:size])), torch.tensor(labels[:size])).backward()
        adam.step()
    for a, b in zip(network.parameters(), trainer.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("rehearse", [False, True])
def test_state_continues_bitwise(rehearse):
    def make():
        few = torch.from_numpy(images(20)[0]), torch.from_numpy(np.asarray(images(20)[1]))
        options = {"min_samples": 5, "retrain_every": 3, "train_steps": 2, "capacity": 7}
        return OnlineTrainer(
            TopoCNN.from_seed(0), torch.device("cpu"), rehearsal=(lambda: few) if rehearse else None, **options
        )

    pictures, labels = images(30)
    whole, half = make(), make()
    for i in range(30):
        whole.add(pictures[i], labels[i])
        if i < 16:
            half.add(pictures[i], labels[i])
    file = io.BytesIO()
    torch.save(half.state(), file)
    file.seek(0)
    resumed = make()
    resumed.restore(torch.load(file, weights_only=True))
    for i in range(16, 30):
        resumed.add(pictures[i], labels[i])
    assert resumed.trainings == whole.trainings == 9
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_is_a_snapshot():
    trainer = OnlineTrainer(TopoCNN.from_seed(0), torch.device("cpu"), min_samples=2, retrain_every=2, train_steps=1)
    pictures, labels = images(4)
    for i in (0, 1):
        trainer.add(pictures[i], labels[i])
    state = trainer.state()
    copy = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, state)
    for i in (2, 3):
        trainer.add(pictures[i], labels[i])
    flat = zip(torch.utils._pytree.tree_leaves(state), torch.utils._pytree.tree_leaves(copy), strict=True)
    assert all(torch.equal(a, b) for a, b in flat if isinstance(a, torch.Tensor))


def test_rehearsal_has_every_regime():
    drawn, labels = rehearsal()
    assert drawn.shape == (200, 2, 50, 50)
    assert torch.bincount(labels).tolist() == [40] * 5
