"""Bands over runs: middle and width against their formulas."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz

X = np.arange(6.0)
RUNS = np.random.default_rng(0).random((5, 6)) + 1


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def edges(ax, number=0):
    """Read the lower and the upper edge of a band from its outline."""
    outline = ax.collections[number].get_paths()[0].vertices
    return tuple(np.array([side([y for x, y in outline if x == one]) for one in X]) for side in (min, max))


def slowly(runs, spread, log):
    """Compute middle, lower and upper edge one point at a time."""
    rows = []
    for point in runs.T:
        values = np.log(point) if log else point
        middle, width = (
            sum(values) / len(values),
            (sum((v - sum(values) / len(values)) ** 2 for v in values) / 4) ** 0.5,
        )
        reach = {"error": 2 * width / len(values) ** 0.5, "deviation": width, "range": None}[spread]
        ends = (min(values), max(values)) if reach is None else (middle - reach, middle + reach)
        rows.append([np.exp(one) if log else one for one in (middle, *ends)])
    return np.array(rows).T


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("spread", ["error", "deviation", "range"])
def test_against_a_slow_reference(spread, log):
    ax = viz.bands({"a": (X, RUNS)}, spread=spread, log=log)
    middle, low, high = slowly(RUNS, spread, log)
    assert ax.lines[0].get_ydata() == pytest.approx(middle)
    assert edges(ax)[0] == pytest.approx(low)
    assert edges(ax)[1] == pytest.approx(high)


def test_surfaces_over_seeds(profile, ax):
    others = [replace(profile, losses=profile.losses + k) for k in range(3)]
    assert viz.bands({"plain": others, "one_run": [profile]}, ax, spread="range") is ax
    assert ax.lines[0].get_ydata() == pytest.approx(profile.losses + 1)
    assert legend(ax) == ["plain (mean of 3)", "one_run (one run)", "lowest to highest"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step along the direction", "loss")
    assert len(ax.collections) == 1


def test_runs_can_be_seen():
    assert len(viz.bands({"a": (X, RUNS)}, runs=True).lines) == 6


def test_a_lost_run_leaves_a_gap():
    runs = RUNS.copy()
    runs[2, 3] = np.inf
    ax = viz.bands({"a": (X, runs)})
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [False, False, False, True, False, False]
    assert legend(ax)[-1] == "a run is not finite (1)"
    (cross,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert cross.get_xdata().tolist() == [3.0]


def test_labels_and_metric(profile):
    named = replace(profile, metrics={"top_1": profile.losses})
    assert viz.bands({"a": [named]}, metric="top_1").get_ylabel() == "top 1"
    ax = viz.bands({"a": (X, RUNS)}, label="test loss", xlabel="epoch", title="Runs")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("epoch", "test loss", "Runs")


@pytest.mark.parametrize(
    ("groups", "options", "kind", "match"),
    [
        ({}, {}, ValueError, "at least one group"),
        ({"a": (X, RUNS)}, {"spread": "iqr"}, ValueError, "spread must be one of"),
        ({"a": (X, RUNS[:, :3])}, {}, ValueError, r"coordinates of shape \(n,\)"),
        ({"a": [RUNS]}, {}, TypeError, r"groups\['a'\] must hold 1-D surfaces"),
        ({"a": 3}, {}, TypeError, "got a int"),
        ({"a": (X, RUNS)}, {"metric": "top"}, TypeError, "metric belongs to surfaces"),
        ({"a": (X, RUNS - 1.5)}, {"log": True}, ValueError, "log=True needs values above 0"),
        ({"a": (X, np.full((2, 6), np.nan))}, {}, ValueError, "no point at which all 2 runs of 'a'"),
    ],
)
def test_bad_arguments(groups, options, kind, match):
    with pytest.raises(kind, match=match):
        viz.bands(groups, **options)
    assert not plt.get_fignums()


def test_surfaces_that_do_not_belong_together(profile):
    other = replace(profile, coordinates=2 * profile.coordinates)
    with pytest.raises(ValueError, match="different coordinates"):
        viz.bands({"a": [profile, other]})
