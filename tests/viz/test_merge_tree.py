"""Merge trees: heights are losses, and no line crosses another."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import tda, viz
from lrscape.viz.chosen_basins import read_basins
from lrscape.viz.merge_tree import order_leaves

TWO_WELLS = np.array([3.0, 0.0, 2.0, 1.0, 4.0])
ROUGH = np.random.default_rng(2).random((15, 15))


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def branches(ax):
    """The lines of the tree."""
    return [line.get_xydata() for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]


def test_draws_on_the_given_axes_and_makes_no_figure(surface, ax):
    assert viz.merge_tree(surface, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("basin", "loss")


def test_heights_are_bottoms_and_passes():
    ax = viz.merge_tree(TWO_WELLS)
    root, other = branches(ax)
    assert root[:, 0].tolist() == [0, 0]
    assert root[0, 1] == 0.0
    assert root[1, 1] > 4.0  # goes on above the highest value
    assert other.tolist() == [[1, 1.0], [1, 2.0], [0, 2.0]]
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("1", (0, 0.0)), ("2", (1, 1.0))]
    assert legend_texts(ax) == ["bottom of a basin", "pass to a deeper one"]


def crossings(lines):
    """Places where a horizontal of one branch meets the inside of another's vertical."""
    count = 0
    for line in lines:
        if len(line) == 2:
            continue
        (_, height), (end, _) = line[1], line[2]
        low, high = sorted((line[1, 0], end))
        for other in lines:
            x, bottom, top = other[0, 0], other[0, 1], other[1, 1]
            count += low < x < high and bottom < height < top
    return count


@pytest.mark.parametrize("seed", range(5))
def test_no_line_crosses_another(seed):
    values = np.random.default_rng(seed).random((15, 15))
    lines = branches(viz.merge_tree(values, most=40))
    assert len(lines) > 30
    assert crossings(lines) == 0


def test_leaves_of_deep_trees():
    places = order_leaves(np.array([-1, 0, 1, 1, -1]), np.array([np.inf, 9.0, 5.0, 3.0, np.inf]))
    assert places.tolist() == [0, 1, 3, 2, 4]


def test_the_most_persistent_are_kept_and_the_others_counted():
    tree = tda.merge_tree(ROUGH)
    chosen = read_basins(ROUGH, caller="test", most=5)
    kept = tree.persistence[chosen.shown]
    assert kept.min() >= np.sort(tree.persistence)[-5]
    assert (np.diff(chosen.shown) > 0).all()
    ax = viz.merge_tree(ROUGH, most=5)
    assert legend_texts(ax)[-1] == f"not drawn: {len(tree) - 5} shallower"
    assert len(ax.texts) == 5
    with pytest.raises(ValueError, match="most must be at least 1 basin, got 0"):
        viz.merge_tree(ROUGH, most=0)


def test_basins_within_the_noise_are_left_out(surface):
    assert legend_texts(viz.merge_tree(TWO_WELLS, noise=0.3)) == ["bottom of a basin", "not drawn: 1 within the noise"]
    assert legend_texts(viz.merge_tree(tda.merge_tree(TWO_WELLS), threshold=1.0))[-1] == "not drawn: 1 within the noise"
    both = legend_texts(viz.merge_tree(ROUGH, most=2, threshold=0.3))[-1]
    real = int((tda.merge_tree(ROUGH).persistence > 0.3).sum())
    assert both == f"not drawn: {len(tda.merge_tree(ROUGH)) - real} within the noise and {real - 2} shallower"
    noisy = replace(surface, standard_error=np.full(121, 0.1), losses=ROUGH[:11, :11].ravel())
    assert viz.merge_tree(noisy).texts[0].get_text() == "1"
    assert len(viz.merge_tree(noisy, noise=0).texts) == 10


def test_who_joins_whom_skips_what_is_not_shown():
    values = [9.0, 0.0, 7.0, 1.0, 5.0, 0.9, 9.0]
    errors = [0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0]  # the basin in the middle of the chain is noisy
    chosen = read_basins(np.array(values), caller="test", most=9, noise=np.array(errors))
    tree = chosen.tree
    assert tree.heights.tolist() == [0.0, 0.9, 1.0]
    assert tree.parents.tolist() == [-1, 0, 1]
    assert chosen.shown.tolist() == [0, 2]
    assert chosen.parents.tolist() == [-1, 0]


def test_holes_make_separate_trees():
    ax = viz.merge_tree(np.array([0.0, 1.0, np.nan, 0.5, 2.0]))
    assert sum(line.get_marker() == "^" for line in ax.lines) == 2
    assert "pass to a deeper one" not in legend_texts(ax)


def test_log_height(surface):
    assert viz.merge_tree(surface, log=True).get_yscale() == "log"
    with pytest.raises(ValueError, match="log=True needs values above 0"):
        viz.merge_tree(TWO_WELLS, log=True)
    assert len(plt.get_fignums()) == 1


def test_what_cannot_be_drawn():
    with pytest.raises(TypeError, match="diagrams do not; pass the surface"):
        viz.merge_tree(tda.persistence(TWO_WELLS))
    with pytest.raises(TypeError, match="noise needs the values, which MergeTree does not hold"):
        viz.merge_tree(tda.merge_tree(TWO_WELLS), noise=0.1)
    with pytest.raises(ValueError, match="no value of value is finite"):
        viz.merge_tree(np.full(4, np.nan))
    assert not plt.get_fignums()


def test_a_constant_and_a_single_value():
    assert len(viz.merge_tree(np.ones((4, 4))).texts) == 1
    assert len(viz.merge_tree(np.array([2.0])).texts) == 1
