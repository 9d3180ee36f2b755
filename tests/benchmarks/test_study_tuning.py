"""The search for a learning rate."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lrscape.benchmarks.study.tuning import REACH, bracket


@given(st.floats(-8, 8), st.floats(1e-4, 1e-1))
def test_finds_the_best_of_the_grid_and_brackets_it(best, centre):
    def loss(rate):
        return abs(math.log2(rate / centre) - best)

    found = bracket(centre, loss)
    everywhere = [centre * 2.0**power for power in range(-REACH, REACH + 1)]
    assert found.best == min(everywhere, key=loss)
    assert found.found
    assert min(found.rates) < found.best < max(found.rates)


def test_asks_step_by_step_and_for_nothing_twice():
    known = {}
    asked = []
    while (found := bracket(1.0, known.get)).best is None:
        new = [rate for rate in found.rates if rate not in known]
        asked.append(new)
        known.update({rate: abs(rate - 4) for rate in new})
    assert asked == [[0.5, 1.0, 2.0], [4.0], [8.0]]
    assert found.best == 4.0


def test_a_rate_that_diverges_is_worse_than_any():
    found = bracket(1.0, lambda rate: math.inf if rate > 1 / 8 else 1.0 + abs(rate - 1 / 16))
    assert found.best == 1 / 16
    assert found.found


def test_without_extension_the_edge_is_believed_and_marked():
    found = bracket(1.0, lambda rate: -rate, extend=False)
    assert (found.rates, found.best, found.found) == ([0.5, 1.0, 2.0], 2.0, False)


def test_ends_if_nothing_works():
    found = bracket(1.0, lambda rate: math.inf)
    assert not found.found
    assert len(found.rates) == REACH + 2
