"""Persistence images against persim and a direct integral."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from persim import PersistenceImager
from scipy.stats import norm

from lrscape.tda import persistence_image

UNIT = {"birth_range": (0.0, 1.0), "persistence_range": (0.0, 1.0)}


def random_diagram(seed, count=30):
    random = np.random.default_rng(seed)
    births = random.random(count)
    return np.column_stack([births, births + random.random(count)])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_persim_used_directly_agrees(power):
    # Ranges and pixels are powers of two: otherwise persim truncates the number of pixels.
    imager = PersistenceImager(
        birth_range=(-0.5, 1.5),
        pers_range=(0.0, 1.0),
        pixel_size=1 / 32,
        weight_params={"n": power},
        kernel_params={"sigma": [[0.01, 0.0], [0.0, 0.01]]},
    )
    for seed in range(5):
        diagram = random_diagram(seed)
        ours = persistence_image(
            diagram,
            birth_range=(-0.5, 1.5),
            persistence_range=(0.0, 1.0),
            resolution=(64, 32),
            sigma=0.1,
            weight=power,
        )
        np.testing.assert_allclose(ours, imager.transform(diagram), rtol=0, atol=1e-12)


@settings(max_examples=50)
@given(
    st.integers(0, 1000),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.none() | st.floats(0.02, 1.0) | st.tuples(st.floats(0.02, 1.0), st.floats(0.02, 1.0)),
)
def test_persim_as_backend_agrees(seed, resolution, sigma):
    settings_ = {
        "birth_range": (-0.3, 1.0),
        "persistence_range": (0.0, 0.7),
        "resolution": resolution,
        "sigma": sigma,
    }
    diagram = random_diagram(seed, seed % 20)
    ours, theirs = (persistence_image(diagram, **settings_, backend=backend) for backend in ("lrscape", "persim"))
    assert ours.shape == theirs.shape == resolution
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_one_point_by_its_integral():
    image = persistence_image([(0.3, 0.7)], **UNIT, resolution=(4, 5), sigma=(0.2, 0.1))
    along = np.diff(norm.cdf(np.linspace(0, 1, 5), 0.3, 0.2))
    across = np.diff(norm.cdf(np.linspace(0, 1, 6), 0.4, 0.1))
    np.testing.assert_allclose(image, 0.4 * np.outer(along, across), atol=1e-15)


def test_total_brightness_is_the_total_weight():
    diagram = random_diagram(0)
    wide = {"birth_range": (-9.0, 9.0), "persistence_range": (-9.0, 9.0)}
    image = persistence_image(diagram, **wide, sigma=0.3, weight=2.0)
    assert image.sum() == pytest.approx(((diagram[:, 1] - diagram[:, 0]) ** 2).sum())


def test_weight_may_be_a_function():
    diagram = random_diagram(1)
    own = persistence_image(diagram, **UNIT, weight=lambda births, lengths: lengths**2)
    np.testing.assert_array_equal(own, persistence_image(diagram, **UNIT, weight=2.0))


def test_superlevel_diagrams_use_their_lengths():
    up = persistence_image([(0.75, 0.5)], **UNIT)
    np.testing.assert_array_equal(up, persistence_image([(0.75, 1.0)], **UNIT))


def test_empty_diagram_gives_zeros():
    for backend in ("lrscape", "persim"):
        image = persistence_image([], **UNIT, resolution=(3, 4), backend=backend)
        assert image.shape == (3, 4)
        assert not image.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diagram": [(0.0, float("inf"))]}, "1 essential classes"),
        ({"birth_range": (1.0, 1.0)}, "birth_range must be"),
        ({"persistence_range": (0.0, float("inf"))}, "persistence_range must be"),
        ({"resolution": 0}, "resolution must be"),
        ({"resolution": (5, 5, 5)}, "resolution must be"),
        ({"birth_range": (0.0, 1.0, 2.0)}, "birth_range must be"),
        ({"sigma": 0.0}, "sigma must be"),
        ({"sigma": (0.1, 0.1, 0.1)}, "sigma must be"),
        ({"weight": -1.0, "diagram": [(0.5, 0.5)]}, "weight must give"),
        ({"backend": "gudhi"}, "backend must be"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        persistence_image(**({"diagram": [(0.0, 1.0)]} | UNIT | change))


def test_resolution_must_be_whole():
    with pytest.raises(TypeError):
        persistence_image([], **UNIT, resolution=2.5)
