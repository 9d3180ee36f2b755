"""Persistence against closed forms, a union-find, and gudhi's general cubical complex."""

import gudhi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lrscape.tda import bottleneck, finite_points, persistence
from lrscape.tda.field import neighbour_offsets

INF = float("inf")
CELLS = ("vertices", "top")


def in_order(points):
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    return points[np.lexsort((points[:, 1], points[:, 0]))]


def by_gudhi(field, cells):
    """All diagrams from the general algorithm, with holes as cells that enter at infinity."""
    keyword = "vertices" if cells == "vertices" else "top_dimensional_cells"
    general = gudhi.CubicalComplex(**{keyword: field})
    general.compute_persistence(homology_coeff_field=2)
    found = [general.persistence_intervals_in_dimension(k).reshape(-1, 2) for k in range(field.ndim)]
    return [in_order(points[points[:, 0] < INF]) for points in found]


def by_union_find(field, cells):
    """H0 pairs in the most direct way: cells enter one by one and join the neighbours that are there."""
    steps = [np.array(step) * sign for step in neighbour_offsets(field.ndim, cells) for sign in (1, -1)]
    component, pairs = {}, []
    for cell in sorted((c for c in np.ndindex(field.shape) if field[c] < INF), key=lambda c: field[c]):
        component[cell] = cell
        for step in steps:
            met = {component[c] for c in (cell, tuple(np.add(cell, step))) if c in component}
            for younger in sorted(met, key=lambda c: field[c])[1:]:
                elder = min(met, key=lambda c: field[c])
                pairs.append((field[younger], field[cell]))
                component = {c: elder if owner == younger else owner for c, owner in component.items()}
    pairs = [pair for pair in pairs if pair[0] < pair[1]]
    return in_order(pairs + [(field[root], INF) for root in set(component.values())])


def random_field(seed):
    """A surface of random size: rough or smooth, with ties in every third, with holes in every other."""
    random = np.random.default_rng(seed)
    field = random.standard_normal(random.integers(1, 14, size=2))
    if seed % 4 == 0:
        field = np.cumsum(np.cumsum(field, axis=0), axis=1)
    if seed % 3 == 0:
        field = np.round(field)
    if seed % 2:
        field[random.random(field.shape) < random.random()] = INF
    return field + 0.0


@pytest.mark.parametrize("cells", CELLS)
def test_1000_random_surfaces_equal_the_general_cubical_complex(cells):
    for seed in range(1000):
        field = random_field(seed)
        for ours, theirs in zip(persistence(field, cells), by_gudhi(field, cells), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"seed {seed}")


@settings(max_examples=100)
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5), elements=st.integers(0, 5)))
def test_ties_in_any_dimension(field):
    for cells in CELLS:
        for ours, theirs in zip(persistence(field, cells), by_gudhi(field, cells), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("shape", [(40,), (9, 9), (4, 4, 4)])
def test_components_equal_a_union_find(shape, cells):
    for seed in range(5):
        random = np.random.default_rng(seed)
        field = random.integers(0, 30, shape).astype(float)
        field[random.random(shape) < 0.2] = INF
        np.testing.assert_array_equal(persistence(field, cells)[0], by_union_find(field, cells))


def test_a_cavity_is_a_class_of_dimension_two():
    shell = np.zeros((3, 3, 3))
    shell[1, 1, 1] = 7.0
    diagrams = persistence(shell)
    assert [points.tolist() for points in diagrams] == [[[0.0, INF]], [], [[0.0, 7.0]]]


def test_vertices_and_top_cells_differ_on_diagonals():
    field = np.array([[0.0, 9.0], [9.0, 1.0]])
    assert persistence(field, "vertices")[0].tolist() == [[0.0, INF], [1.0, 9.0]]
    assert persistence(field, "top")[0].tolist() == [[0.0, INF]]


def test_rough_surface_has_more_components_on_vertices():
    # The specification saw 100 against 72 finite pairs on such a grid.
    rough = np.random.default_rng(0).standard_normal((50, 50))
    rough = (rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1) + np.roll(rough, (1, 1), (0, 1)))[1:, 1:]
    vertices, top = (len(persistence(rough, cells)[0]) - 1 for cells in CELLS)
    assert top < 0.85 * vertices
    assert top > 50


def test_two_wells_in_closed_form():
    # f(x) = (x² − 1)² + x/4 has minima near ±1 and a maximum between, at the roots of 4x³ − 4x + 1/4.
    low, high, right = np.sort(np.roots([4, 0, -4, 0.25]).real)
    f = np.polynomial.Polynomial([1, 0.25, -2, 0, 1])
    found = persistence(f(np.linspace(-2, 2, 20_001)))[0]
    np.testing.assert_allclose(found, [[f(low), INF], [f(right), f(high)]], atol=1e-7)


@settings(max_examples=100)
@given(
    st.integers(0, 10_000),
    st.sampled_from(CELLS),
    st.floats(1e-6, 10.0, allow_subnormal=False),
    st.sampled_from([0, 1]),
)
def test_stability(seed, cells, size, dimension):
    random = np.random.default_rng(seed)
    field = random.standard_normal((9, 9))
    change = size * random.uniform(-1, 1, field.shape)
    moved = bottleneck(persistence(field, cells)[dimension], persistence(field + change, cells)[dimension])
    assert moved <= np.abs(change).max() * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("cells", CELLS)
def test_superlevel_is_the_sublevel_of_the_negative(cells):
    field = np.random.default_rng(1).standard_normal((8, 9))
    field[2, 3] = np.nan
    up, down = persistence(field, cells, superlevel=True), persistence(-field, cells)
    assert up.superlevel
    for ours, theirs in zip(up, down, strict=True):
        np.testing.assert_array_equal(ours, -theirs)
    assert up[0][0].tolist() == [np.nanmax(field), -INF]


def test_alexander_duality_between_sublevel_and_superlevel():
    # A loop of low ground, 4-connected, surrounds a peak, 8-connected; the border surrounds the highest.
    field = np.pad(np.random.default_rng(2).standard_normal((12, 12)), 1, constant_values=-9.0)
    loops = persistence(field, "vertices")[1]
    peaks = finite_points(persistence(field, "top", superlevel=True)[0], essential=-9.0)
    np.testing.assert_array_equal(in_order(loops[:, ::-1]), in_order(peaks))


def test_diverged_and_masked_cells_are_holes_in_both_directions():
    field = np.ones((5, 5))
    hole = np.zeros((5, 5), dtype=bool)
    hole[2, 2] = True
    for superlevel, end in ((False, INF), (True, -INF)):
        masked = persistence(field, mask=hole, superlevel=superlevel)
        for value in (np.nan, np.inf):
            found = persistence(np.where(hole, value, field), superlevel=superlevel)
            assert [p.tolist() for p in found] == [p.tolist() for p in masked] == [[[1.0, end]], [[1.0, end]]]


def test_a_surface_that_diverged_everywhere_is_empty():
    for shape in ((4,), (3, 3), (2, 2, 2)):
        for cells in CELLS:
            assert [len(points) for points in persistence(np.full(shape, np.nan), cells)] == [0] * len(shape)


def test_a_wall_of_holes_makes_two_essential_components():
    assert persistence([1.0, 2.0, np.nan, 0.0])[0].tolist() == [[0.0, INF], [1.0, INF]]


def test_order_and_zeros_are_canonical():
    points = persistence(np.random.default_rng(3).integers(-3, 4, (20, 20)).astype(float))
    for each in points:
        np.testing.assert_array_equal(each, in_order(each))
        assert not np.signbit(each[each == 0]).any()
        assert each.flags.c_contiguous
        assert (each[:, 0] < each[:, 1]).all()


def test_max_dimension():
    field = np.random.default_rng(4).standard_normal((6, 6))
    assert len(persistence(field, max_dimension=0)) == 1
    assert persistence(field, max_dimension=3)[3].shape == (0, 2)
    assert persistence(field[0], max_dimension=1)[1].shape == (0, 2)
    with pytest.raises(ValueError, match="max_dimension must be at least 0"):
        persistence(field, max_dimension=-1)
    with pytest.raises(TypeError):
        persistence(field, max_dimension=0.5)


def test_integers_and_float32_are_read_exactly():
    field = np.random.default_rng(5).integers(0, 9, (6, 6))
    for kind in (np.int8, np.uint16, np.float32):
        np.testing.assert_array_equal(persistence(field.astype(kind))[0], persistence(field.astype(float))[0])


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match="cells must be"):
        persistence([1.0], cells="pixels")
