"""Merge trees against persistence and against paths found by search."""

import heapq
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrscape.tda import merge_tree, persistence
from lrscape.tda.field import neighbour_offsets

INF = float("inf")
CELLS = ("vertices", "top")


def random_field(seed):
    random = np.random.default_rng(seed)
    dims = int(random.integers(1, 4))
    field = random.standard_normal(random.integers(1, 10 if dims < 3 else 5, size=dims))
    if seed % 3 == 0:
        field = np.round(field)
    if seed % 2:
        field[random.random(field.shape) < random.random()] = INF
    return field


def lowest_pass(field, start, goal, cells):
    """Height of the best path, by a search that always goes on from the lowest cell in sight."""
    steps = [np.array(step) * sign for step in neighbour_offsets(field.ndim, cells) for sign in (1, -1)]
    padded, heap, seen = np.pad(field, 1, constant_values=INF), [(field[start], start)], {start}
    while heap:
        height, cell = heapq.heappop(heap)
        if cell == goal:
            return height
        for near in (tuple(np.add(cell, step)) for step in steps):
            if near not in seen and padded[tuple(np.add(near, 1))] < INF:
                seen.add(near)
                heapq.heappush(heap, (max(height, field[near]), near))
    return INF


@settings(max_examples=200)
@given(st.integers(0, 100_000), st.sampled_from(CELLS))
def test_the_tree_is_that_of_persistence_and_consistent(seed, cells):
    field = random_field(seed)
    tree = merge_tree(field, cells)
    pairs = tree.pairs
    np.testing.assert_array_equal(pairs[np.lexsort(pairs.T[::-1])], persistence(field, cells)[0])
    np.testing.assert_array_equal(field[tuple(tree.minima.T)], tree.heights)
    assert (np.diff(tree.heights) >= 0).all()
    child = np.flatnonzero(tree.parents >= 0)
    above = tree.parents[child]
    np.testing.assert_array_equal(field[tuple(tree.saddles[child].T)], tree.saddle_heights[child])
    assert (above < child).all()
    assert (tree.saddle_heights[above] >= tree.saddle_heights[child]).all()
    root = tree.parents < 0
    assert (tree.saddles[root] == -1).all()
    assert np.isinf(tree.saddle_heights[root]).all()
    np.testing.assert_array_equal(tree.basins == -1, ~np.isfinite(field))
    np.testing.assert_array_equal(tree.basins[tuple(tree.minima.T)], np.arange(len(tree)))
    assert (field[tree.basins >= 0] >= tree.heights[tree.basins[tree.basins >= 0]]).all()


@settings(max_examples=100)
@given(st.integers(0, 100_000), st.sampled_from(CELLS))
def test_passes_are_the_lowest(seed, cells):
    field = random_field(seed)
    tree = merge_tree(field, cells)
    for first in range(min(len(tree), 4)):
        for second in range(first):
            height, place = tree.pass_between(first, second)
            start, goal = (tuple(tree.minima[k].tolist()) for k in (first, second))
            assert height == lowest_pass(field, start, goal, cells)
            assert tree.pass_between(second, first) == (height, place)
            assert (place is None) if height == INF else (field[place] == height)


def test_three_basins_that_meet_in_one_cell_join_the_deepest():
    field = np.full((3, 3), 9.0)
    field[1] = [0.0, 5.0, 1.0]
    field[2, 1] = 2.0
    tree = merge_tree(field)
    assert tree.heights.tolist() == [0.0, 1.0, 2.0]
    assert tree.parents.tolist() == [-1, 0, 0]
    assert tree.saddles.tolist() == [[-1, -1], [1, 1], [1, 1]]


def test_a_chain_of_basins():
    tree = merge_tree([0.0, 9.0, 2.0, 5.0, 3.0, 4.0, 3.5])
    assert tree.heights.tolist() == [0.0, 2.0, 3.0, 3.5]
    assert tree.parents.tolist() == [-1, 0, 1, 2]
    assert tree.persistence.tolist() == [INF, 7.0, 2.0, 0.5]
    assert tree.pass_between(0, 3) == (9.0, (1,))
    assert tree.pass_between(1, 3) == (5.0, (3,))


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 6), (41, 41), (3, 4, 5)])
def test_constant_input_has_one_minimum(shape, cells):
    tree = merge_tree(np.full(shape, 2.5), cells)
    assert len(tree) == 1
    assert tree.heights.tolist() == [2.5]
    assert not tree.basins.any()


def test_a_plateau_counts_once():
    plateau = [[3.0, 1.0, 3.0, 1.0], [3.0, 1.0, 1.0, 1.0], [0.0, 3.0, 3.0, 3.0]]
    tree = merge_tree(plateau)
    assert tree.heights.tolist() == [0.0, 1.0]
    assert tree.basins[0].tolist() == [1, 1, 1, 1]


def test_no_value_no_tree():
    tree = merge_tree(np.full((3, 3), np.nan))
    assert len(tree) == 0
    assert tree.pairs.shape == (0, 2)
    assert tree.minima.shape == (0, 2)
    assert (tree.basins == -1).all()


def test_mask_and_diverged_cells_agree():
    field = np.random.default_rng(0).standard_normal((9, 9))
    hole = np.random.default_rng(1).random((9, 9)) < 0.3
    masked, diverged = merge_tree(field, mask=hole), merge_tree(np.where(hole, np.nan, field))
    np.testing.assert_array_equal(masked.basins, diverged.basins)
    np.testing.assert_array_equal(masked.parents, diverged.parents)


def test_pass_between_refuses_what_is_no_pair():
    tree = merge_tree([0.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="a pass needs two minima"):
        tree.pass_between(1, 1)
    for number in (2, -1):
        with pytest.raises(IndexError, match=f"minima 0 to 1, got {number}"):
            tree.pass_between(0, number)


def test_time():
    random = np.random.default_rng(0)
    merge_tree(random.random((5, 5)))  # imports
    for size, limit in ((41, 0.1), (500, 1.0)):
        start = time.process_time()
        merge_tree(random.random((size, size)))
        assert time.process_time() - start < limit
