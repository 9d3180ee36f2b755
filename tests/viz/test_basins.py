"""The merge tree on the contour: marks stand where the tree says."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import tda, viz
from lrscape.landscape import LossSurface, grid


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def marks(ax, marker, color=None):
    lines = [line for line in ax.lines if line.get_marker() == marker]
    places = [line.get_xydata().tolist() for line in lines if color in {None, line.get_color()}]
    return [tuple(place) for some in places for place in some]


@pytest.fixture
def wells():
    """Two wells at u = ∓.5, the left one deeper, a pass of height about .5 at u near 0."""
    points = grid(21)
    u, v = points.coordinates.T
    losses = 8 * (u**2 - 0.25) ** 2 + 0.1 * u + v**2 + 0.2
    return LossSurface(points.coordinates, losses, shape=points.shape, provenance={"norm": "filter"})


def test_draws_on_the_given_axes_and_makes_no_figure(wells, ax):
    assert viz.basins(wells, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_xlabel() == "direction 1 (filter-normalised)"


def test_marks_and_edges_are_the_trees(wells, ax):
    viz.basins(wells, ax)
    tree = tda.merge_tree(wells.values)
    assert len(tree) == 2
    bottoms = [tuple(float(axis[i]) for axis, i in zip(wells.axes, at, strict=True)) for at in tree.minima]
    over = tuple(float(axis[i]) for axis, i in zip(wells.axes, tree.saddles[1], strict=True))
    assert bottoms == [(-0.5, 0.0), (0.5, 0.0)]
    assert marks(ax, "o", viz.LIGHT.accent) == bottoms
    assert marks(ax, "X") == [over]
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("1", bottoms[0]), ("2", bottoms[1])]
    edges = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "None"]
    assert edges == [[list(bottoms[1]), list(over)], [list(over), list(bottoms[0])]]
    assert legend_texts(ax) == ["basins, the deepest 1: loss 0.15", "pass to a deeper basin", "centre: loss 0.7"]


def test_noise_and_number(wells):
    assert legend_texts(viz.basins(wells, noise=1.0))[-1] == "not drawn: 1 within the noise"
    assert legend_texts(viz.basins(wells, most=1))[-1] == "not drawn: 1 shallower"
    noisy = replace(wells, standard_error=np.full(441, 1.0))
    assert len(viz.basins(noisy).texts) == 1
    assert len(viz.basins(noisy, noise=0).texts) == 2
    assert len(viz.basins(noisy, threshold=0.1).texts) == 2


def test_a_basin_at_the_centre_takes_the_centres_mark(surface):
    points = grid(5)
    bowl = LossSurface(points.coordinates, 1 + (points.coordinates**2).sum(1), points.shape)
    assert legend_texts(viz.basins(bowl)) == ["only basin: loss 1 (at the centre)"]
    assert legend_texts(viz.basins(bowl, mark_center=False)) == ["only basin: loss 1"]
    assert legend_texts(viz.basins(surface)) == ["only basin: loss 0.1", "centre: loss 0.66"]


def test_one_of_several_at_the_centre():
    u = np.linspace(-1, 1, 9)
    values = 1 + 0.5 * u[:, None] ** 2 + u**2
    values[7, 4] = 0.5
    assert legend_texts(viz.basins(values, axes=(u, u)))[0] == "basins, the deepest 1: value 0.5 (2 is at the centre)"


def test_numbers_agree_with_the_dendrogram():
    points = grid(15)
    surface = LossSurface(points.coordinates, np.random.default_rng(0).random(225), points.shape)
    on_contour = viz.basins(surface, most=6).lines
    bottoms = next(line.get_xydata() for line in on_contour if line.get_color() == viz.LIGHT.accent)
    heights = [surface.losses[np.abs(points.coordinates - place).sum(1).argmin()] for place in bottoms]
    tree = viz.merge_tree(surface, most=6)
    assert [text.xy[1] for text in tree.texts] == pytest.approx(heights)


def test_missing_values_stay_hatched_and_pieces_apart(wells):
    losses = wells.values.copy()
    losses[10] = np.nan
    ax = viz.basins(replace(wells, losses=losses.ravel()))
    assert "not finite (21 points)" in legend_texts(ax)
    assert not marks(ax, "X")
    assert "centre: loss not finite" in legend_texts(ax)


def test_metric_log_and_the_contours_options(wells):
    named = replace(wells, metrics={"top_1": 1 / wells.losses})
    assert viz.basins(named, metric="top_1").child_axes[0].get_ylabel() == "top 1"
    ax = viz.basins(wells, log=True, limits=(0.1, 3.0), colorbar=False, title="Wells")
    assert ax.get_title() == "Wells"
    assert not ax.child_axes


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"viz\.basins draws 2-D data, but this array has 1 dimension"):
        viz.basins(np.arange(3.0), axes=(np.arange(3.0),))
    with pytest.raises(TypeError, match="a plain array needs axes="):
        viz.basins(np.ones((3, 3)))
    assert not plt.get_fignums()


def test_fits_a_column(wells):
    ax = viz.basins(wells, plt.figure(figsize=(3.4, 3.6), layout="constrained").add_subplot())
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= ax.figure.bbox.x1
    assert box.y0 >= -1
