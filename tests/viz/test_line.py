"""Profiles: bands, gaps and names."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import FillBetweenPolyCollection

from lrscape import viz
from lrscape.landscape import LossSurface, points


def legend_texts(ax):
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def test_draws_on_the_given_axes_and_makes_no_figure(profile, ax):
    assert viz.line(profile, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step along the direction", "loss")


def test_band_is_two_standard_errors_and_named(profile, ax):
    viz.line(profile, ax)
    assert legend_texts(ax) == ["± 2 standard errors", "centre"]
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    middle = band.get_paths()[0].vertices
    at_center = middle[middle[:, 0] == 0, 1]
    assert sorted(at_center) == pytest.approx([0.1 - 0.4, 0.1 + 0.4])


def test_no_band_for_a_metric_or_without_errors(profile):
    named = replace(profile, metrics={"top_1": profile.losses})
    ax = viz.line(named, metric="top_1")
    assert ax.get_ylabel() == "top 1"
    assert not ax.collections
    assert not viz.line(replace(profile, standard_error=None)).collections


def test_a_band_that_reaches_zero_stays_in_a_log_picture(profile):
    ax = viz.line(profile, log=True)
    ax.figure.canvas.draw()
    assert ax.get_yscale() == "log"
    assert 0.01 < ax.get_ylim()[0] < 0.1


def test_several_profiles_with_labels(profile, ax):
    viz.line([profile, replace(profile, losses=profile.losses + 1)], ax, labels=["early", "late"])
    assert legend_texts(ax)[:2] == ["early", "late"]
    first, second = [line for line in ax.lines if line.get_label() in {"early", "late"}]
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert legend_texts(viz.line([profile, profile]))[:2] == ["profile 1", "profile 2"]


@pytest.mark.parametrize("labels", [["one"], "ab"])
def test_labels_must_fit(profile, labels):
    with pytest.raises(ValueError, match="labels must name each of the 2 curves"):
        viz.line([profile, profile], labels=labels)


def test_missing_values_leave_a_gap_and_a_cross(profile, ax):
    losses = profile.losses.copy()
    losses[[0, 8]] = np.nan, np.inf
    viz.line(replace(profile, losses=losses), ax)
    assert legend_texts(ax)[-1] == "not finite (2 points)"
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert crosses[0].get_xdata().tolist() == [-1.0, 1.0]
    assert ax.get_ylim()[1] < 2


def test_loose_points_are_sorted(ax):
    loose = points([0.5, 0.0, -0.5])
    viz.line(LossSurface(loose.coordinates, np.array([3.0, 2.0, 1.0])), ax)
    assert ax.lines[0].get_xdata().tolist() == [-0.5, 0.0, 0.5]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 2.0, 3.0]


def test_plain_array_and_errors(surface):
    t = np.linspace(0, 1, 5)
    assert viz.line(t**2, axes=(t,), label="energy").get_ylabel() == "energy"
    with pytest.raises(TypeError, match="a plain array needs axes="):
        viz.line(t)
    with pytest.raises(ValueError, match=r"use viz\.contour or viz\.surface3d"):
        viz.line(surface)
    with pytest.raises(ValueError, match="log=True needs values above 0"):
        viz.line(t, axes=(t,), log=True)


def test_several_arrays():
    t = np.linspace(-1, 1, 5)
    for data in (np.stack([t**2, t**4]), [t**2, t**4]):
        ax = viz.line(data, axes=(t,), labels=["a", "b"], mark_center=False)
        assert [line.get_ydata().tolist() for line in ax.lines] == [(t**2).tolist(), (t**4).tolist()]
