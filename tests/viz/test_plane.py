"""The plane through three minima: anchors stand where they are, with their names and losses."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz

PLACES = [[0.0, 0.0], [0.8, 0.0], [0.4, 0.95]]


@pytest.fixture
def plane(surface):
    told = {
        "direction_norms": [1.0, 1.0000001],
        "anchors": PLACES,
        "anchor_checkpoints": ["runs/seed_0.pt", "runs/seed_1.pt", "_$x$.pt"],
        "anchor_losses": [0.25, 0.5, float("nan")],
    }
    return replace(surface, provenance=told)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


def diamonds(ax):
    return [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "D"]


def test_anchors_from_the_provenance(plane, ax):
    assert viz.plane(plane, ax) is ax
    assert diamonds(ax) == PLACES
    assert texts(ax) == ["seed_0.pt", "seed_1.pt", r" _\$x\$.pt"]
    assert legend(ax) == ["seed_0.pt: loss 0.25", "seed_1.pt: loss 0.5", r" _\$x\$.pt: loss nan"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("direction 1 (distance)", "direction 2 (distance)")


def test_anchors_are_joined_unless_not(plane):
    dotted = [line for line in viz.plane(plane).lines if line.get_linestyle() == ":"]
    assert dotted[0].get_xydata() == pytest.approx(np.array([*PLACES, PLACES[0]]))
    assert not [line for line in viz.plane(plane, connect=False).lines if line.get_linestyle() == ":"]


def test_own_anchors_have_no_losses_of_others(plane):
    ax = viz.plane(plane, anchors=PLACES[:2])
    assert texts(ax) == ["a", "b"]
    assert legend(ax) == []
    assert legend(viz.plane(plane, anchors=PLACES[:2], names=["x", "y"], losses=[1, 2])) == ["x: loss 1", "y: loss 2"]


def test_marks_of_the_contour_stay_in_the_legend(plane):
    found = legend(viz.plane(plane, mark_center=True, path=[[0, 0], [1, 1]]))
    assert found[:2] == ["path (from the square)", "centre: loss 0.66"]
    assert len(found) == 5


def test_a_name_at_the_upper_edge_stands_below(plane):
    ax = viz.plane(plane)
    ax.figure.canvas.draw()
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert box.y1 <= frame.y1
        assert box.y0 >= frame.y0


def test_legend_is_readable_in_the_dark(plane):
    with viz.theme("dark"):
        ax = viz.plane(plane)
    assert {text.get_color() for text in ax.get_legend().get_texts()} == {viz.DARK.ink}


def test_bad_arguments(surface, plane):
    with pytest.raises(ValueError, match="which this surface does not tell"):
        viz.plane(surface)
    with pytest.raises(ValueError, match=r"anchors must hold finite coordinates .* got \(3,\)"):
        viz.plane(plane, anchors=[1, 2, 3])
    with pytest.raises(ValueError, match="names must name each of the 3"):
        viz.plane(plane, names="abc")
    with pytest.raises(ValueError, match="losses must give one for each of the 3"):
        viz.plane(plane, losses=[1.0])
    assert not plt.get_fignums()


def test_names_that_no_font_has(plane):
    ax = viz.plane(plane, names=["a\nb", "\udce9t\u00e9", "\x00"], losses=[1, 2, 3])
    assert texts(ax) == ["a\N{REPLACEMENT CHARACTER}b", "\N{REPLACEMENT CHARACTER}t\u00e9", "\N{REPLACEMENT CHARACTER}"]
    ax.figure.canvas.draw()


def test_long_names_stay_in_the_frame_and_are_told_apart(surface):
    names = [f"a_very_long_run_name_lr0.003_seed1234_epoch_0100_{end}.pt" for end in "abc"]
    places = [[-1.0, -0.9], [0.98, 0.9], [1.0, -0.5]]
    ax = viz.plane(surface, anchors=places, names=names, losses=[0.19341, 0.19342, 0.5])
    assert [text.get_text() for text in ax.texts] == ["…a.pt", "…b.pt", "…c.pt"]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["…a.pt: loss 0.19341", "…b.pt: loss 0.19342", "…c.pt: loss 0.5"]
    other = viz.plane(
        surface, anchors=places, names=["weights_of_adam.pt", "the_second_one.pt", "another_one_still.pt"]
    )
    for drawn in (ax, other):
        drawn.figure.canvas.draw()
        frame = drawn.get_window_extent()
        boxes = [text.get_window_extent() for text in drawn.texts]
        assert len(boxes) == 3
        assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)  # off the numbers beside it
