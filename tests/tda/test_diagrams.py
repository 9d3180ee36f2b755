"""Reading of persistence diagrams."""

import numpy as np
import pytest

from lrscape.tda import Diagrams, finite_points, persistence
from lrscape.tda.diagrams import lengths, read_diagram, read_upward

INF = float("inf")


def test_diagrams_are_indexed_by_dimension():
    diagrams = persistence(np.arange(9.0).reshape(3, 3))
    assert len(diagrams) == 2
    assert [points.shape for points in diagrams] == [(1, 2), (0, 2)]
    for dimension in (2, -1):
        with pytest.raises(IndexError, match=f"H0 to H1, got dimension {dimension}"):
            diagrams[dimension]


def test_diagrams_cannot_be_changed():
    diagrams = persistence([1.0, 0.0])
    with pytest.raises(AttributeError):
        diagrams.cells = "top"
    assert diagrams != Diagrams(diagrams.points, "vertices", superlevel=False)  # identity, not ambiguous arrays


@pytest.mark.parametrize(
    ("diagram", "error", "message"),
    [
        (persistence([1.0, 0.0]), TypeError, r"pass diagrams\[0\]"),
        ([1.0, 2.0], ValueError, r"shape \(n, 2\)"),
        ([(np.nan, 1.0)], ValueError, "finite births"),
        ([(0.0, np.nan)], ValueError, "not NaN"),
        ([(INF, INF)], ValueError, "finite births"),
        ([(0.0, 1.0), (2.0, 1.0)], ValueError, "apart"),
    ],
)
def test_what_is_no_diagram_is_refused(diagram, error, message):
    with pytest.raises(error, match=message):
        read_diagram(diagram)


def test_superlevel_diagrams_are_turned_over():
    assert read_upward([(3.0, 1.0), (3.0, -INF)]).tolist() == [[-3.0, -1.0], [-3.0, INF]]
    assert read_upward([(1.0, 3.0)]).tolist() == [[1.0, 3.0]]


def test_essential_classes_are_left_out_or_end_at_a_level():
    assert finite_points([(0.0, INF), (1.0, 2.0)]).tolist() == [[1.0, 2.0]]
    assert finite_points([(0.0, INF)], essential=0.0).tolist() == [[0.0, 0.0]]
    assert finite_points([(3.0, -INF)], essential=1.0).tolist() == [[3.0, 1.0]]
    assert lengths([(3.0, -INF), (2.0, 1.5)], essential=1.0).tolist() == [2.0, 0.5]
    for level in (-1.0, INF):
        with pytest.raises(ValueError, match="essential"):
            finite_points([(0.0, INF)], essential=level)
