"""Reading of sampled functions."""

import re

import numpy as np
import pytest

from lrscape import tda
from lrscape.tda.field import check_cells, neighbour_offsets, neighbour_slices, read_field


def test_everything_without_a_value_becomes_a_hole():
    field = read_field([[1.0, np.nan], [np.inf, 2.0]], mask=[[False, False], [False, True]])
    assert field.tolist() == [[1.0, np.inf], [np.inf, np.inf]]


def test_masked_arrays_keep_their_mask_and_the_input_is_not_touched():
    values = np.ma.array([1, 2, 3], mask=[False, True, False])
    assert read_field(values).tolist() == [1.0, np.inf, 3.0]
    plain = np.array([1.0, np.nan])
    read_field(plain)
    assert np.isnan(plain[1])


def test_minus_infinity_counts_only_where_it_is_not_masked():
    assert read_field([-np.inf, 1.0], mask=[True, False]).tolist() == [np.inf, 1.0]
    with pytest.raises(ValueError, match=r"values contain -inf in 1 cells"):
        read_field([-np.inf, 1.0])


@pytest.mark.parametrize(
    ("values", "mask", "error", "message"),
    [
        (1.0, None, ValueError, "at least one dimension"),
        ([], None, ValueError, "one cell"),
        (["a"], None, TypeError, "values must be an array of real numbers"),
        ([1j], None, TypeError, "complex128"),
        ([1.0, 2.0], [1, 0], TypeError, "mask must be boolean"),
        ([1.0, 2.0], [True], ValueError, r"mask must have the shape of values, \(2,\), got \(1,\)"),
    ],
)
def test_refusals_name_the_argument(values, mask, error, message):
    with pytest.raises(error, match=message):
        read_field(values, mask)


@pytest.mark.parametrize("cells", ["vertices", "top"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_steps_reach_every_pair_of_neighbours_once(shape, cells):
    grid = np.arange(np.prod(shape)).reshape(shape)
    found = [
        frozenset(pair)
        for offset in neighbour_offsets(len(shape), cells)
        for pair in zip(*(grid[part].ravel().tolist() for part in neighbour_slices(offset)), strict=True)
    ]
    places = list(np.ndindex(shape))
    apart = {
        frozenset((int(grid[p]), int(grid[q]))): np.abs(np.subtract(p, q)) for p in places for q in places if p != q
    }
    reach = {pair for pair, d in apart.items() if (d.max() == 1 if cells == "top" else d.sum() == 1)}
    assert len(found) == len(set(found))
    assert set(found) == reach


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match="cells must be"):
        check_cells("pixels")


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda rows: tda.persistence(rows), "values must be real numbers on a grid, got"),
        (lambda rows: tda.merge_tree(rows), "values must be real numbers on a grid, got"),
        (lambda rows: tda.persistence([1.0, 2.0], mask=rows), "mask must be boolean, in the shape of values, got"),
        (lambda rows: tda.profile([1.0, 2.0], rows), "noise must be one standard error or one for each value, got"),
        (lambda rows: tda.bottleneck(rows, []), "a must be rows of two numbers (birth, death), got"),
        (lambda rows: tda.published_image(rows), "grid must be a square of numbers, got"),
    ],
)
def test_rows_of_different_lengths_are_told_from_numpy(call, start):
    with pytest.raises(ValueError, match=re.escape(f"{start} rows of different lengths; fill what is missing")):
        call([[1, 2], [3]])


def test_texts_are_no_numbers():
    with pytest.raises(ValueError, match=r"^noise must be one standard error .*, got str: could not convert"):
        tda.profile([1.0, 2.0], "much")
