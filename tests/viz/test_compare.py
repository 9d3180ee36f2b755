"""Several landscapes in one figure."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrscape import viz


def test_panels_share_their_colours(surface):
    other = replace(surface, losses=10 * surface.losses)
    figure = viz.compare([surface, other, surface, other], labels=["a", "b_1", "c", "d"], log=True)
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b 1", "c", "d"]
    norms = [ax.collections[0].norm for ax in figure.axes]
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(surface.losses.min(), other.losses.max())}
    assert [len(ax.child_axes) for ax in figure.axes] == [0, 0, 1, 0]


def test_profiles_are_drawn_over_each_other(profile):
    figure = viz.compare([profile, replace(profile, losses=profile.losses + 1)])
    (ax,) = figure.axes
    assert {"surface 1", "surface 2"} <= {line.get_label() for line in ax.lines}


def test_paths_and_metrics(surface):
    path = [[0.5, 0.5], [0.0, 0.0]]
    with_path = replace(surface, provenance={**surface.provenance, "path": path})
    figure = viz.compare([with_path, surface], metric="top_1")
    first, second = figure.axes
    assert len(first.lines) == len(second.lines) + 2
    assert second.child_axes[0].get_ylabel() == "top 1"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: ([], None), "at least one"),
        (lambda s: ([s, s], ["a"]), "labels must name each of the 2"),
        (lambda s: ([s, s], "ab"), "labels must name each of the 2"),
        (lambda s: ([s, replace(s, losses=np.full(121, np.nan))], ["a", "b"]), "loss of b is finite"),
    ],
)
def test_what_cannot_be_drawn(surface, change, match):
    surfaces, labels = change(surface)
    with pytest.raises(ValueError, match=match):
        viz.compare(surfaces, labels=labels)


def test_other_kinds(surface, profile):
    with pytest.raises(TypeError, match=r"LossSurface, got ndarray"):
        viz.compare([surface.losses])
    with pytest.raises(ValueError, match="got 1-D and 2-D"):
        viz.compare([surface, profile])
