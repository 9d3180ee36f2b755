"""Barcodes: the longest bars, in order, and a word on the rest."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection

from lrscape import tda, viz

TWO_WELLS = np.array([3.0, 0.0, 2.0, 1.0, 4.0])
NOISY = np.random.default_rng(1).random((12, 12))


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def bars(ax):
    """Rows of (y, start, end) from the top."""
    found = [
        (path.vertices[0, 1], path.vertices[0, 0], path.vertices[1, 0])
        for c in ax.collections
        if isinstance(c, LineCollection)
        for path in c.get_paths()
    ]
    return np.array(sorted(found))


def test_draws_on_the_given_axes_and_makes_no_figure(surface, ax):
    assert viz.barcode(surface, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.get_xlabel() == "loss"


def test_bars_are_sorted_and_endless_ones_have_arrows():
    ax = viz.barcode(TWO_WELLS)
    found = bars(ax)
    assert found[:, :2].tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert found[1, 2] == 2.0
    assert found[0, 2] == ax.get_xlim()[1]
    (arrow,) = [line for line in ax.lines if line.get_marker() == ">"]
    assert arrow.get_ydata().tolist() == [0]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top


def test_the_longest_are_kept_and_the_others_counted():
    diagrams = tda.persistence(NOISY)
    total = sum(map(len, diagrams))
    ax = viz.barcode(NOISY, most=7)
    assert len(bars(ax)) == 7
    assert legend_texts(ax)[-1] == f"{total - 7} shorter not drawn"
    drawn = bars(ax)
    lengths = np.concatenate([pairs[:, 1] - pairs[:, 0] for pairs in diagrams])
    assert sorted(drawn[1:, 2] - drawn[1:, 1]) == pytest.approx(sorted(lengths[np.isfinite(lengths)])[-6:])
    assert not any("not drawn" in text for text in legend_texts(viz.barcode(NOISY, most=total)))
    with pytest.raises(ValueError, match="most must be at least 1 bar, got 0"):
        viz.barcode(NOISY, most=0)


def test_bars_within_the_noise_are_faint_and_counted():
    ax = viz.barcode(TWO_WELLS, noise=0.3)
    assert legend_texts(ax) == ["H₀: 1 above the noise, 1 within (faint)"]
    assert sorted(c.get_alpha() for c in ax.collections) == [0.35, 1.0]
    both = viz.barcode(tda.persistence(TWO_WELLS), threshold=0.5)
    assert legend_texts(both) == ["H₀: 2 above the noise, none within"]


def test_superlevel_bars_run_to_the_left():
    ax = viz.barcode(tda.persistence(TWO_WELLS, superlevel=True))
    assert bars(ax)[0, 2] == ax.get_xlim()[0]
    assert [line.get_marker() for line in ax.lines] == ["<"]


def test_log_metric_and_labels(surface):
    ax = viz.barcode(surface, log=True, metric="top_1", title="Bars")
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_title()) == ("log", "top 1", "Bars")
    with pytest.raises(ValueError, match="log=True needs values above 0"):
        viz.barcode(TWO_WELLS, log=True)
    assert len(plt.get_fignums()) == 1


def test_further_arguments_reach_matplotlib():
    ax = viz.barcode(TWO_WELLS, linewidth=7.0)
    assert [c.get_linewidth()[0] for c in ax.collections] == [7.0]
