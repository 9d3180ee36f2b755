"""Persistence images: the pixels are the tda room's, and the axes say which ratio or value they stand for."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import tda, viz
from lrscape.landscape import LossSurface, grid

POINTS = grid(15)
ROUGH = 0.5 + np.random.default_rng(3).random((15, 15))


def shown(ax):
    (image,) = ax.images
    return np.asarray(image.get_array()), image.get_extent()


def at(ticks, labels, text):
    return next(place for place, label in zip(ticks, labels, strict=True) if label.get_text() == text)


def test_draws_on_the_given_axes_and_makes_no_figure(ax):
    assert viz.persistence_image(LossSurface(POINTS.coordinates, ROUGH.ravel(), POINTS.shape), ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("birth / loss at the centre", "death / birth")
    assert viz.persistence_image(ROUGH, colorbar=False).child_axes == []


@pytest.mark.parametrize("dimension", [0, 1])
def test_ratio_channels(dimension):
    image, extent = shown(viz.persistence_image(ROUGH, dimension=dimension, resolution=31, cap=3.0))
    assert np.array_equal(image, tda.corrected_image(ROUGH, resolution=31, cap=3.0)[dimension])
    assert extent == pytest.approx((-1 / 60, 61 / 60, -1 / 60, 61 / 60))


def test_ticks_of_the_ratio_image_stand_where_the_ratios_are_drawn():
    bowl = np.full((15, 15), 4.0)
    bowl[7, 7] = 2.0
    ax = viz.persistence_image(bowl, resolution=201)
    image, _ = shown(ax)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert column / 200 == pytest.approx(at(ax.get_xticks(), ax.get_xticklabels(), "1"))
    assert 1 - row / 200 == pytest.approx(at(ax.get_yticks(), ax.get_yticklabels(), "2"), abs=0.003)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["≤ 0.2", "0.5", "1", "2", "≥ 5"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2", "≥ 5"]


def test_published_image_and_its_own_axes():
    ax = viz.persistence_image(ROUGH, kind="published")
    image, _ = shown(ax)
    assert np.array_equal(image, tda.published_image(ROUGH)[0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("value at the centre / birth", "death / value at the centre")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["≤ 1", "2", "≥ 5"]


def test_adams_image_has_births_across_and_lengths_up():
    diagrams = tda.persistence(np.array([3.0, 0.0, 2.0, 1.0, 4.0]))
    ax = viz.persistence_image(
        diagrams, kind="adams", birth_range=(0.0, 4.0), persistence_range=(0.0, 2.0), resolution=20, sigma=0.05
    )
    image, extent = shown(ax)
    assert tuple(extent) == (0.0, 4.0, 0.0, 2.0)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert abs((column + 0.5) * 0.2 - 1.0) <= 0.11
    assert abs(2.0 - (row + 0.5) * 0.1 - 1.0) <= 0.06
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("birth (value)", "length (value)")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left out: 1 that never dies"]


def test_adams_ranges_cover_what_there_is():
    _, (left, right, bottom, top) = shown(viz.persistence_image(ROUGH, kind="adams", dimension=1))
    pairs = tda.persistence(ROUGH)[1]
    assert left < pairs[:, 0].min() < pairs[:, 0].max() < right
    assert (bottom, top) == (0.0, pytest.approx(1.1 * (pairs[:, 1] - pairs[:, 0]).max()))
    image, _ = shown(viz.persistence_image(np.arange(5.0), kind="adams"))  # one basin that never dies
    assert not image.any()


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match='kind must be "ratio", "published" or "adams"'):
        viz.persistence_image(ROUGH, kind="log")
    with pytest.raises(TypeError, match="relative to the value at the centre, which Diagrams does not hold"):
        viz.persistence_image(tda.persistence(ROUGH))
    with pytest.raises(ValueError, match="dimension must be 0 or 1"):
        viz.persistence_image(ROUGH, dimension=2)
    with pytest.raises(ValueError, match="dimension must be 0 with"):
        viz.persistence_image(ROUGH, kind="published", dimension=1)
    with pytest.raises(ValueError, match="dimension must be one of 0 to 1"):
        viz.persistence_image(ROUGH, kind="adams", dimension=2)
    with pytest.raises(ValueError, match="grid must be square"):
        viz.persistence_image(ROUGH[:3])
    assert not plt.get_fignums()
