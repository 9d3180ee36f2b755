"""Small panels that share their colours."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.contour import QuadContourSet

from lrscape import viz


@pytest.fixture
def several(surface):
    return [replace(surface, losses=surface.losses * (k + 1)) for k in range(7)]


def norms(figure):
    sets = [c for ax in figure.axes for c in ax.collections if isinstance(c, QuadContourSet) and c.filled]
    return {(one.norm.vmin, one.norm.vmax) for one in sets}


def test_one_scale_and_one_bar(several):
    figure = viz.multiples(several, labels=range(7), log=True, across=4)
    assert [ax.get_title() for ax in figure.axes[:7]] == list("0123456")
    (norm,) = norms(figure)  # of the logarithms
    assert norm == pytest.approx(tuple(np.log10([several[0].losses.min(), several[6].losses.max()])))
    assert len(figure.axes) == 8
    assert figure.axes[7].get_ylabel() == "loss"


def test_numbers_stand_at_the_outer_panels_and_labels_at_one(several):
    figure = viz.multiples(several, across=4)
    figure.canvas.draw()
    panels = figure.axes[:7]
    bottom = [ax.xaxis.get_tick_params()["labelbottom"] for ax in panels]
    left = [ax.yaxis.get_tick_params()["labelleft"] for ax in panels]
    assert bottom == [False, False, False, True, True, True, True]
    assert left == [True, False, False, False, True, False, False]
    assert [ax.get_xlabel() != "" for ax in panels] == [i == 4 for i in range(7)]


def test_each_panel_tells_its_loss_at_the_centre(several):
    figure = viz.multiples(several)
    assert [ax.texts[0].get_text() for ax in figure.axes[:3]] == ["0.66", "1.32", "1.98"]
    assert figure.legends[0].get_texts()[0].get_text() == "centre, with its loss"


def test_nothing_is_cut_off(several):
    figure = viz.multiples(several, across=3, title="Training")
    figure.canvas.draw()
    for ax in figure.axes:
        box = ax.get_tightbbox(figure.canvas.get_renderer())
        assert min(box.x0, box.y0) >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1


def test_perspectives_share_their_height(several):
    figure = viz.multiples(several[:2], kind="surface", limits=(0.0, 12.0))
    assert {ax.get_zlim() for ax in figure.axes[:2]} == {figure.axes[0].get_zlim()}
    assert [ax.get_title() for ax in figure.axes[:2]] == ["1: 0.66", "2: 1.32"]


def test_paths_grow_with_the_panels(several):
    path = np.stack([np.linspace(1, 0, 7), np.zeros(7)], axis=1)
    growing = viz.multiples(several, path=path).axes[:7]
    assert [len(ax.lines[0].get_xdata()) for ax in growing] == [1, 2, 3, 4, 5, 6, 7]
    whole = viz.multiples(several[:2], path=path).axes[:2]
    assert [len(ax.lines[0].get_xdata()) for ax in whole] == [7, 7]


def test_arrays_metrics_and_holes(several):
    u = np.linspace(-1, 1, 5)
    bowl = u[:, None] ** 2 + u**2
    bowl[0, 0] = np.nan
    figure = viz.multiples([bowl, bowl], axes=(u, u), label="energy")
    assert figure.axes[2].get_ylabel() == "energy"
    assert figure.legends[0].get_texts()[-1].get_text() == "not finite (2 points)"
    assert viz.multiples(several[:1], metric="top_1").axes[1].get_ylabel() == "top 1"


def test_a_panel_without_a_finite_value_is_hatched(several):
    lost = replace(several[0], losses=np.full(121, np.nan))
    figure = viz.multiples([several[0], lost], log=True)
    assert [len(ax.patches) for ax in figure.axes[:2]] == [0, 1]
    assert [ax.texts[0].get_text() for ax in figure.axes[:2]] == ["0.66", "not finite"]
    assert figure.legends[0].get_texts()[-1].get_text() == "not finite (121 points)"
    hollow = viz.multiples([several[0], lost], kind="surface")
    assert [ax.get_title() for ax in hollow.axes[:2]] == ["1: 0.66", "2: not finite"]
    assert hollow.legends[0].get_texts()[-1].get_text() == "hole: 121 points not finite"
    assert not [text for ax in hollow.axes[:2] for text in ax.texts]  # it would lie over the surface


def test_long_labels_are_cut_to_what_differs(several):
    labels = [f"a_run_with_a_very_long_name_step_{i}" for i in range(7)]
    assert [ax.get_title() for ax in viz.multiples(several, labels=labels).axes[:7]] == [f"…{i}" for i in range(7)]


def test_labels_that_fit_stay_whole(several):
    labels = [f"direction 3 at {0.4 * k:.1f}" for k in range(7)]
    figure = viz.multiples(several, labels=labels, across=3)
    assert [ax.get_title() for ax in figure.axes[:7]] == labels
    figure.canvas.draw()
    for ax in figure.axes[:7]:
        assert ax.title.get_window_extent().width < 1.15 * ax.get_window_extent().width


def test_bad_arguments(several, profile):
    for arguments, match in [
        (([],), "at least one"),
        ((several, {"labels": ["a"]}), "labels must name each of the 7"),
        ((several, {"kind": "line"}), "kind must be one of 'contour', 'surface'"),
        ((several, {"across": 0}), "across must be at least 1"),
        (([profile],), r"viz\.multiples draws 2-D data"),
        (([replace(several[0], losses=np.full(121, np.nan))],), "121 values of loss is finite"),
        (([several[0], replace(several[0], losses=-several[0].losses)], {"log": True}), "121 values of loss of 2 are"),
    ]:
        surfaces, options = (*arguments, {})[:2]
        with pytest.raises(ValueError, match=match):
            viz.multiples(surfaces, **options)
    assert not plt.get_fignums()
