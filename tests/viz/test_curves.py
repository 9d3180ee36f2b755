"""Curves over training: every run is named, with the value it ends at."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz

RUNS = {"constant": ([1, 2, 3], [0.9, 0.5, 0.25]), "cosine": ([1, 3], [0.8, 0.1234])}


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_draws_on_the_given_axes_and_makes_no_figure(ax):
    assert viz.curves(RUNS, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("optimizer step", "loss", "")


def test_makes_one_figure_without_axes():
    ax = viz.curves(RUNS)
    assert plt.get_fignums() == [ax.figure.number]


def test_curves_hold_the_values_and_the_legend_the_last():
    ax = viz.curves(RUNS, xlabel="epoch", ylabel="test loss", title="Digits")
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[1, 0.9], [2, 0.5], [3, 0.25]],
        [[1, 0.8], [3, 0.1234]],
    ]
    assert legend_texts(ax) == ["constant (last: 0.25)", "cosine (last: 0.123)"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("epoch", "test loss", "Digits")


def test_runs_differ_in_colour_and_dash():
    lines = viz.curves({str(i): ([0, 1], [i, i]) for i in range(4)}).lines
    assert len({line.get_color() for line in lines}) == 4
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4


def test_log_scale_and_its_limits():
    assert viz.curves(RUNS, log=True).get_yscale() == "log"
    with pytest.raises(ValueError, match="series 'a' has values that are not positive; draw it with log=False"):
        viz.curves({"a": ([1, 2], [1.0, 0.0])}, log=True)


def test_what_is_on_the_axes_already_stays_out_of_the_legend(ax):
    ax.plot([0, 1], [0, 1], label="mine")
    viz.curves(RUNS, ax)
    assert len(legend_texts(ax)) == 2


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ({}, "series must hold at least one run, got none"),
        ({"a": ([1, 2], [1.0])}, r"series 'a' must have as many values as steps, got \(1,\) and \(2,\)"),
        ({"a": ([], [])}, "series 'a' must have as many"),
        ({"a": (np.ones((2, 2)), np.ones((2, 2)))}, "series 'a' must have as many"),
    ],
)
def test_bad_series(series, message):
    with pytest.raises(ValueError, match=message):
        viz.curves(series)
    assert not plt.get_fignums()


def test_further_arguments_reach_matplotlib():
    assert {line.get_linewidth() for line in viz.curves(RUNS, linewidth=3.0).lines} == {3.0}


def test_guides_are_named():
    ax = viz.curves({"run_1": ([0, 1], [3.0, 2.0])}, guides={"best": 1.25})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run_1 (last: 2)", "best (1.25)"]
    assert list(ax.lines[-1].get_ydata()) == [1.25, 1.25]
