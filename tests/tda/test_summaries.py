"""Summaries against definitions, closed forms and gudhi."""

import numpy as np
import pytest
from gudhi.representations import BettiCurve, Entropy, Landscape
from hypothesis import given
from hypothesis import strategies as st

from lrscape.tda import (
    betti_curve,
    max_persistence,
    minima_deeper_than,
    persistence,
    persistence_entropy,
    persistence_landscape,
    total_persistence,
)

INF = float("inf")
LEVELS = np.linspace(-0.5, 2.5, 61)


def random_diagram(seed, count=40):
    random = np.random.default_rng(seed)
    births = random.random(count)
    return np.column_stack([births, births + random.random(count)])


def test_numbers_in_closed_form():
    diagram = [(0.0, INF), (1.0, 4.0), (2.0, 3.0)]
    assert total_persistence(diagram) == 4.0
    assert total_persistence(diagram, power=2.0) == 10.0
    assert total_persistence(diagram, essential=5.0) == 9.0
    assert max_persistence(diagram) == 3.0
    assert max_persistence(diagram, essential=5.0) == 5.0
    assert [minima_deeper_than(diagram, depth) for depth in (0.0, 1.0, 3.0, 99.0)] == [3, 2, 1, 1]
    assert persistence_entropy([(0.0, 1.0)] * 8) == pytest.approx(np.log(8))
    assert persistence_entropy([(0.0, 3.0), (0.0, 1.0), (2.0, 2.0)]) == pytest.approx(np.log(4) - 0.75 * np.log(3))


def test_empty_diagrams():
    for diagram in ([], [(0.0, INF)]):
        assert (total_persistence(diagram), max_persistence(diagram), persistence_entropy(diagram)) == (0.0, 0.0, 0.0)
    assert minima_deeper_than([], 0.0) == 0
    assert not betti_curve([], LEVELS).any()
    assert not persistence_landscape([], LEVELS).any()


@given(st.integers(0, 1000))
def test_gudhi_agrees(seed):
    diagram = random_diagram(seed, 1 + seed % 50)
    assert persistence_entropy(diagram) == pytest.approx(float(Entropy()(diagram)[0]), abs=1e-12)
    np.testing.assert_array_equal(betti_curve(diagram, LEVELS), BettiCurve(predefined_grid=LEVELS)(diagram))
    theirs = Landscape(num_landscapes=7, resolution=61, sample_range=[-0.5, 2.5])(diagram).reshape(7, 61)
    np.testing.assert_allclose(persistence_landscape(diagram, LEVELS, 7), theirs / np.sqrt(2), atol=1e-12)


def test_curves_by_definition_with_essential_classes():
    diagram = np.vstack([random_diagram(0), [(0.3, INF), (0.7, INF)]])
    levels = np.concatenate([LEVELS, diagram[:5, 0], diagram[:5, 1]])
    births, deaths = diagram[:, 0], diagram[:, 1]
    alive = [int(((births <= t) & (t < deaths)).sum()) for t in levels]
    tents = [sorted(np.maximum(np.minimum(t - births, deaths - t), 0), reverse=True) for t in levels]
    assert betti_curve(diagram, levels).tolist() == alive
    np.testing.assert_allclose(persistence_landscape(diagram, levels, 50)[:42], np.transpose(tents), atol=1e-15)
    assert not persistence_landscape(diagram, levels, 50)[42:].any()


def test_superlevel_diagrams_mirror_sublevel_ones():
    field = np.random.default_rng(0).standard_normal((12, 12))
    up, down = persistence(field, superlevel=True)[0], persistence(-field)[0]
    levels = np.concatenate([np.linspace(-3, 3, 50), up[:, 0]])
    np.testing.assert_array_equal(betti_curve(up, levels), betti_curve(down, -levels))
    np.testing.assert_allclose(
        persistence_landscape(up, levels), persistence_landscape(down, -levels), rtol=0, atol=1e-15
    )
    assert total_persistence(up) == pytest.approx(total_persistence(down))
    assert minima_deeper_than(up, 0.5) == minima_deeper_than(down, 0.5)


def test_betti_curve_counts_the_pieces_of_a_sublevel_set():
    from scipy.ndimage import label

    field = np.random.default_rng(1).standard_normal((20, 20))
    levels = np.linspace(-2, 2, 9)
    pieces = [label(field <= t)[1] for t in levels]
    assert betti_curve(persistence(field)[0], levels).tolist() == pieces


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total_persistence([], power=0.0), "power must be positive"),
        (lambda: minima_deeper_than([], -1.0), "depth must be"),
        (lambda: minima_deeper_than([], float("nan")), "depth must be"),
        (lambda: persistence_landscape([], LEVELS, 0), "count must be at least 1"),
        (lambda: betti_curve([], 1.0), "levels must be"),
        (lambda: betti_curve([], [INF]), "levels must be"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
