"""Bars of the layers' sharpness: order, scale, whiskers, and what is left out."""

import numpy as np
import pytest
from curved import Explicit
from matplotlib import pyplot as plt

from lrscape import viz
from lrscape.landscape import power_iteration, top_eigenvalues

LAYERS = {"conv1": 2.0, "conv2": 4.0, "head": 1.0}


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def ends(ax):
    return [bar.get_x() + bar.get_width() for bar in ax.patches]


def test_draws_on_the_given_axes_and_makes_no_figure(ax):
    assert viz.layer_sharpness(LAYERS, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert names(ax) == list(LAYERS)
    assert ends(ax) == [2.0, 4.0, 1.0]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first layer on top
    assert ax.get_xscale() == "linear"
    assert ax.get_ylabel() == "layer"
    assert ax.get_legend() is None


def test_results_have_whiskers():
    found = {
        "a": top_eigenvalues(None, Explicit(np.diag(np.linspace(0, 3, 30))), tolerance=0.0, max_hvps=4),
        "b": power_iteration(None, Explicit(np.diag(np.linspace(0, 2, 30))), tolerance=0.0, max_hvps=3),
    }
    ax = viz.layer_sharpness(found)
    bars = ax.containers[1].lines[2][0].get_segments()
    assert bars[0][:, 0] == pytest.approx([found["a"].eigenvalues[0] + s * found["a"].residuals[0] for s in (-1, 1)])
    assert bars[1][:, 0] == pytest.approx([found["b"].eigenvalue + s * found["b"].residual for s in (-1, 1)])


def test_a_wide_range_is_logarithmic_and_its_bars_begin_at_the_edge():
    ax = viz.layer_sharpness({"a": 0.01, "b": 3.0})
    assert ax.get_xscale() == "log"
    assert {bar.get_x() for bar in ax.patches} == {ax.get_xlim()[0]}
    assert ends(ax) == pytest.approx([0.01, 3.0])
    assert viz.layer_sharpness({"a": 0.01, "b": 3.0}, log=False).get_xscale() == "linear"
    negative = viz.layer_sharpness({"a": -0.5, "b": 30.0})
    assert negative.get_xscale() == "linear"
    assert negative.get_xlim()[0] < -0.5


def test_the_whole_model_beside_them():
    ax = viz.layer_sharpness(LAYERS, whole=4.5, title="Digits")
    assert ax.lines[-1].get_xdata() == [4.5, 4.5]
    assert legend_texts(ax) == ["the whole model: 4.5"]
    assert ax.get_xlim()[1] > 4.5
    assert ax.get_title() == "Digits"


def test_the_sharpest_are_kept_in_order_and_the_others_counted():
    found = {f"layer{i}": float(value) for i, value in enumerate([5, 1, 4, 2, 3])}
    ax = viz.layer_sharpness(found, most=3)
    assert names(ax) == ["layer0", "layer2", "layer4"]
    assert legend_texts(ax) == ["2 smaller not drawn"]


def test_names_that_are_long_or_missing():
    ax = viz.layer_sharpness({"": 1.0, "model.decoder.layers.11.self_attention.out_proj": 2.0})
    first, second = names(ax)
    assert first == "(the model)"
    assert second.startswith("…")
    assert second.endswith("self attention.out proj")
    assert len(second) == 28


def test_layers_that_diverged_are_hatched_and_counted():
    ax = viz.layer_sharpness({"a": 1.0, "b": float("nan"), "c": 2.0})
    assert names(ax) == ["a", "b", "c"]
    assert [bar.get_hatch() for bar in ax.patches] == [None, None, "/////"]
    assert legend_texts(ax) == ["not finite (1)"]


def test_wrong_arguments_are_named():
    for message, arguments in {
        "found must hold at least one layer": ({},),
        "none of the 1 sharpnesses is finite": ({"a": float("inf")},),
    }.items():
        with pytest.raises(ValueError, match=message):
            viz.layer_sharpness(*arguments)
    with pytest.raises(ValueError, match="most must be at least 1 bar, got 0"):
        viz.layer_sharpness(LAYERS, most=0)
    with pytest.raises(ValueError, match="log=True needs values above 0, the lowest is -1"):
        viz.layer_sharpness({"a": -1.0}, log=True)
    with pytest.raises(TypeError, match=r"found\['a'\] must be a number, or come from top_eigenvalues"):
        viz.layer_sharpness({"a": "sharp"})
    assert not plt.get_fignums()


def test_further_arguments_reach_matplotlib():
    assert {bar.get_height() for bar in viz.layer_sharpness(LAYERS, height=0.5).patches} == {0.5}
