"""The 3-D surface: heights, holes and labels."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz


def test_draws_on_the_given_axes_and_makes_no_figure(surface, space):
    assert viz.surface3d(surface, space) is space
    assert len(plt.get_fignums()) == 1


def test_labels(surface):
    ax = viz.surface3d(surface, title="bowl")
    assert ax.get_xlabel() == "direction 1\n(filter-normalised)"
    assert (ax.get_zlabel(), ax.get_title()) == ("loss", "bowl")
    assert viz.surface3d(surface, metric="top_1").get_zlabel() == "top 1"


@pytest.mark.parametrize("width", [3.4, 6.0])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_nothing_is_cut_off(surface, width, layout):
    figure = plt.figure(figsize=(width, 0.85 * width), layout=layout)
    ax = viz.surface3d(surface, figure.add_subplot(projection="3d"), log=True, title="bowl")
    figure.canvas.draw()
    for artist in (ax.xaxis, ax.yaxis, ax.zaxis, ax.title):
        box = artist.get_tightbbox(figure.canvas.get_renderer())
        whole = figure.bbox
        if layout == "constrained":
            assert min(box.x0, box.y0) >= 0
            assert box.x1 <= whole.x1
            assert box.y1 <= whole.y1


def test_log_heights_have_readable_ticks(surface):
    ax = viz.surface3d(surface, log=True, floor=False)
    assert ax.get_zlim() == pytest.approx(np.log10([surface.losses.min(), surface.losses.max()]), abs=0.2)
    texts = [label.get_text() for label in ax.get_zticklabels()]
    assert 10 ** ax.get_zticks() == pytest.approx([float(text) for text in texts])


def test_log_of_values_at_or_below_zero_says_what_to_do(surface):
    with pytest.raises(ValueError, match="log=True needs values above 0"):
        viz.surface3d(replace(surface, losses=surface.losses - 0.1), log=True)


def facets(ax):
    return next(c for c in ax.collections if type(c).__name__ == "Poly3DCollection" and not hasattr(c, "levels"))


def test_missing_values_leave_holes_and_a_note(surface, space):
    losses = surface.losses.copy()
    losses[0], losses[-1] = np.nan, np.inf
    viz.surface3d(replace(surface, losses=losses), space)
    space.figure.canvas.draw()
    assert [text.get_text() for text in space.texts] == ["hole: 2 points not finite"]
    whole = [path for path in facets(space).get_paths() if np.isfinite(path.vertices).all()]
    assert len(whole) == 10 * 10 - 2


def test_limits_fix_the_heights(surface):
    ax = viz.surface3d(surface, limits=(0.0, 2.0), floor=False)
    assert ax.get_zlim() == pytest.approx((0.0, 2.0), abs=0.1)


def test_needs_a_3d_axes_and_a_2d_grid(surface, profile, ax):
    with pytest.raises(ValueError, match=r'make it with add_subplot\(projection="3d"\)'):
        viz.surface3d(surface, ax)
    with pytest.raises(ValueError, match=r"use viz\.line"):
        viz.surface3d(profile)
    with pytest.raises(ValueError, match="at least 2 points"):
        viz.surface3d(np.ones((1, 3)), axes=([0.0], [0.0, 1.0, 2.0]))


def test_a_constant_surface_is_flat(surface):
    viz.surface3d(replace(surface, losses=np.zeros(121))).figure.canvas.draw()


def test_a_path_lies_on_the_floor(surface):
    ax = viz.surface3d(surface, path=[[0.5, 0.5], [0.2, 0.1], [0.0, 0.0]])
    line, dots, square = ax.lines[:3]
    assert np.array(line.get_data_3d())[:2].T.tolist() == [[0.5, 0.5], [0.2, 0.1], [0.0, 0.0]]
    assert set(line.get_data_3d()[2]) == {ax.get_zlim()[0]} or np.ptp(line.get_data_3d()[2]) == 0
    assert [len(one.get_data_3d()[0]) for one in (dots, square)] == [1, 1]
