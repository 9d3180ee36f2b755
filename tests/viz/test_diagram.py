"""Persistence diagrams: every class stands where it is born and dies, and noise is told from signal."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_rgba

from lrscape import tda, viz
from lrscape.landscape import LossSurface, grid, points

TWO_WELLS = np.array([3.0, 0.0, 2.0, 1.0, 4.0])
RING = np.array([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 0.5]])


def legend_texts(ax):
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def drawn(ax, marker, *, hollow=False):
    """Points with this marker, shape (n, 2)."""
    kept = [
        line.get_xydata()
        for line in ax.lines
        if line.get_marker() == marker and (line.get_markerfacecolor() == "none") == hollow
    ]
    return np.concatenate([np.empty((0, 2)), *kept])


def bands(ax):
    return [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]


def test_draws_on_the_given_axes_and_makes_no_figure(surface, ax):
    assert viz.persistence_diagram(surface, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("birth (loss)", "death (loss)", 1)


def test_each_class_has_its_place_and_its_dimension_a_marker():
    ax = viz.persistence_diagram(RING)
    assert drawn(ax, "^").tolist() == [[1.0, 5.0]]
    ((birth, death),) = drawn(ax, "o")
    assert birth == 0.5
    assert death > 5.0  # on the line at infinity
    assert [text.get_text() for text in ax.texts] == ["∞ (never dies)"]
    assert legend_texts(ax) == ["H₀: 1", "H₁: 1"]
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_ylim()[1] > death


def test_shells_in_three_dimensions():
    cube = np.ones((3, 3, 3))
    cube[1, 1, 1] = 4.0
    ax = viz.persistence_diagram(cube)
    assert legend_texts(ax) == ["H₀: 1", "H₁: 0", "H₂: 1"]
    assert drawn(ax, "s").tolist() == [[1.0, 4.0]]


def test_surface_array_and_diagrams_give_the_same(surface):
    rough = replace(surface, losses=np.random.default_rng(0).random(121))
    expected = drawn(viz.persistence_diagram(rough), "o")
    for data in (rough.values, tda.persistence(rough.values)):
        found = drawn(viz.persistence_diagram(data), "o")
        assert sorted(found[:, 0]) == pytest.approx(sorted(expected[:, 0]))
    assert len(drawn(viz.persistence_diagram(rough, cells="top"), "o")) < len(expected)


def test_one_noise_for_all_gives_a_band():
    ax = viz.persistence_diagram(TWO_WELLS, noise=0.3)
    floor = tda.profile(TWO_WELLS, noise=0.3).noise_floor
    assert floor > 1  # the second well is 1 deep
    assert drawn(ax, "o", hollow=True).tolist() == [[1.0, 2.0]]
    assert len(drawn(ax, "o")) == 1
    (band,) = bands(ax)
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1] - corners[:, 0]).max() == pytest.approx(floor)
    assert legend_texts(ax) == ["H₀ above the noise: 1", "H₀ within it: 1", f"noise: length up to {floor:.3g}"]


def test_errors_that_differ_are_judged_where_they_lie_and_give_no_band():
    losses = np.array([3.0, 0.0, 2.0, 1.0, 4.0, 3.9, 9.0])
    errors = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0])
    line = points(np.arange(7.0)[:, None] - 3)
    surface = LossSurface(line.coordinates, losses, (7,), standard_error=errors)
    ax = viz.persistence_diagram(surface)
    assert drawn(ax, "o", hollow=True)[:, 0].tolist() == [3.9]
    assert sorted(drawn(ax, "o")[:, 0]) == [0.0, 1.0]
    assert not bands(ax)
    assert legend_texts(viz.persistence_diagram(surface, noise=0)) == ["H₀: 3"]


def test_threshold_serves_diagrams_and_goes_before_noise(surface):
    diagrams = tda.persistence(TWO_WELLS)
    assert legend_texts(viz.persistence_diagram(diagrams, threshold=1.0))[:2] == [
        "H₀ above the noise: 1",
        "H₀ within it: 1",
    ]
    assert legend_texts(viz.persistence_diagram(TWO_WELLS, noise=5.0, threshold=0.5))[0] == "H₀ above the noise: 2"
    with pytest.raises(ValueError, match="threshold must be a length of at least 0"):
        viz.persistence_diagram(diagrams, threshold=-1.0)


def test_superlevel_diagrams_lie_below_the_diagonal():
    ax = viz.persistence_diagram(tda.persistence(TWO_WELLS, superlevel=True), threshold=1.5)
    above = drawn(ax, "o")
    assert (above[:, 1] < above[:, 0]).all()
    assert above[:, 1].min() < TWO_WELLS.min()
    (band,) = bands(ax)
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1] - corners[:, 0]).min() == pytest.approx(-1.5)


def test_log_axes_and_their_ticks(surface):
    ax = viz.persistence_diagram(surface, log=True, noise=0.01)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlim() == ax.get_ylim()
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels
    assert "" not in labels
    with pytest.raises(ValueError, match=r"log=True needs values above 0"):
        viz.persistence_diagram(TWO_WELLS, log=True)
    assert len(plt.get_fignums()) == 1


def test_metric_and_label(surface):
    assert viz.persistence_diagram(surface, metric="top_1").get_xlabel() == "birth (top 1)"
    assert viz.persistence_diagram(TWO_WELLS, label="energy").get_ylabel() == "death (energy)"
    assert viz.persistence_diagram(TWO_WELLS, title="Wells").get_title() == "Wells"


def test_holes_are_no_classes():
    values = np.ma.masked_greater(RING, 4.0)
    ax = viz.persistence_diagram(values)
    assert drawn(ax, "^")[:, 0].tolist() == [1.0]  # a loop around a hole never dies
    assert len(drawn(ax, "o")) == 1


def test_what_cannot_be_drawn():
    with pytest.raises(TypeError, match=r"noise needs the values, which Diagrams does not hold.*threshold="):
        viz.persistence_diagram(tda.persistence(TWO_WELLS), noise=0.1)
    with pytest.raises(TypeError, match="metric needs the values"):
        viz.persistence_diagram(tda.persistence(TWO_WELLS), metric="top_1")
    with pytest.raises(ValueError, match=r"needs values on a grid, got an array of shape \(\)"):
        viz.persistence_diagram(3.0)
    with pytest.raises(ValueError, match="is finite, so there is nothing to draw"):
        viz.persistence_diagram(np.full((3, 3), np.nan))
    loose = points(grid(3).coordinates)
    with pytest.raises(ValueError, match="9 points do not form a grid"):
        viz.persistence_diagram(LossSurface(loose.coordinates, np.arange(9.0)))
    with pytest.raises(ValueError, match="noise must be one standard error or one for each value"):
        viz.persistence_diagram(TWO_WELLS, noise=[0.1, 0.2])
    assert not plt.get_fignums()


def test_further_arguments_reach_matplotlib():
    ax = viz.persistence_diagram(TWO_WELLS, color="red", noise=0.3)
    assert to_rgba(ax.get_legend().legend_handles[0].get_color()) == to_rgba("red")


@pytest.mark.parametrize("size", [(3.4, 3.8), (3.4, 2.8)])
def test_fits_a_column(surface, size):
    ax = viz.persistence_diagram(surface, plt.figure(figsize=size, layout="constrained").add_subplot(), noise=0.1)
    ax.figure.canvas.draw()
    room = ax.figure.bbox
    for part in (ax.get_tightbbox(), ax.get_legend().get_window_extent()):
        assert part.x0 >= room.x0 - 1
        assert part.x1 <= room.x1 + 1
        assert part.y0 >= room.y0 - 1


def test_long_numbers_of_a_narrow_range_stand_side_by_side():
    values = 1e6 + np.random.default_rng(0).random((9, 9))
    for ax in (viz.persistence_diagram(values), viz.barcode(values)):
        ax.figure.canvas.draw()
        texts = [text for text in ax.get_xticklabels() if text.get_text()]
        assert len({text.get_text() for text in texts}) == len(texts) >= 2
        boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.x0)
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
