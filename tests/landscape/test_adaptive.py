import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrscape.landscape import LossSurface, Objective, evaluate, evaluate_adaptive, grid, random_directions, refine
from lrscape.landscape.subdivision import bending, points_of_cells, subdivide

FINE = grid(101).coordinates


def compare(function, **options):
    """Error relative to the range, and share of the points measured."""
    full = function(FINE).reshape(101, 101)
    calls = []

    def values_at(coordinates):
        calls.append(coordinates)
        return function(coordinates)

    values, measured = refine(values_at, **options)
    seen = np.concatenate(calls)
    assert len(np.unique(seen, axis=0)) == len(seen) == measured.sum()
    assert values.shape == (101, 101, 1)
    assert np.array_equal(values[measured][:, 0], full[measured], equal_nan=True)
    assert measured[50, 50]
    with np.errstate(invalid="ignore"):
        error = np.abs(values[..., 0] - full)
    finite = np.isfinite(full)
    assert np.array_equal(finite, np.isfinite(values[..., 0]))
    return error[finite].max() / np.ptp(full[finite]), measured.mean()


@given(coefficients=st.lists(st.floats(-3, 3), min_size=16, max_size=16))
@settings(max_examples=20, deadline=None)
def test_cubics_are_exact_without_refinement(coefficients):
    matrix = np.array(coefficients).reshape(4, 4)
    values, measured = refine(
        lambda c: np.polynomial.polynomial.polyval2d(*c.T, matrix), coarse=6, fine=21, tolerance=10.0
    )
    assert measured.sum() == 37
    expected = np.polynomial.polynomial.polyval2d(*grid(21).coordinates.T, matrix)
    np.testing.assert_allclose(values.ravel(), expected, atol=1e-10)


SHAPES = {
    "bowl": (lambda x, y: x**2 + 5 * y**2, 0.07),
    "waves": (lambda x, y: x**2 + y**2 + 0.3 * np.sin(9 * x) * np.cos(7 * y), 0.2),
    "creases": (lambda x, y: np.abs(x - 0.3 * y) + np.abs(y + 0.2) + x**2, 0.35),
    "ring": (lambda x, y: np.abs(np.hypot(x, y) - 0.5), 0.35),
    "wall": (lambda x, y: np.where(x + 0.3 * y > 0.1, 1.0, 0.0) + 0.2 * x, 0.35),
    "needle": (lambda x, y: x**2 + y**2 + 5 * np.exp(-((x - 0.31) ** 2 + (y - 0.42) ** 2) / 0.0018), 0.2),
    "steep": (lambda x, y: np.exp(4 * x - 3 * y), 0.2),
}


@pytest.mark.parametrize("name", SHAPES)
def test_error_and_cost_on_known_surfaces(name):
    function, most = SHAPES[name]
    error, share = compare(lambda c: function(*c.T))
    assert error <= 0.01
    assert share <= most


def test_a_tighter_tolerance_costs_more_and_errs_less():
    def function(c):
        return np.abs(c[:, 0]) + np.sin(8 * c[:, 1])

    found = [compare(function, tolerance=tolerance) for tolerance in (0.1, 0.01, 1e-4)]
    errors, shares = zip(*found, strict=True)
    assert shares[0] < shares[1] < shares[2]
    assert errors[2] <= errors[1] <= errors[0]


def test_noise_is_measured_everywhere():
    random = np.random.default_rng(0)
    assert refine(lambda c: random.normal(size=len(c)), coarse=26, fine=101)[1].all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_outlined_exactly(value):
    error, share = compare(lambda c: np.where(np.hypot(*(c - 0.3).T) > 0.9, value, np.exp(3 * c[:, 0] ** 2)))
    assert error <= 0.01
    assert share < 0.5
    for nothing in (np.nan, 0.5):
        values, measured = refine(lambda c, v=nothing: np.full(len(c), v))
        assert measured.sum() == 677
        assert np.array_equal(values[..., 0], np.full((101, 101), nothing), equal_nan=True)


def test_logarithm_keeps_the_floor_of_a_deep_valley():
    def function(c):
        return 1e-4 + (c[:, 0] ** 2 + c[:, 1] ** 2) ** 2 * 50

    full = np.log(function(FINE).reshape(101, 101))
    for log, close in ((True, True), (False, False)):
        values, _ = refine(function, log=log)
        error = np.abs(np.log(np.maximum(values[..., 0], 1e-12)) - full).max() / np.ptp(full)
        assert (error <= 0.01) == close
    with pytest.raises(ValueError, match="log=True needs positive losses, got -1"):
        refine(lambda c: -np.ones(len(c)), log=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coarse": 25}, "got coarse=25 and fine=101"),
        ({"coarse": 4, "fine": 13}, "coarse at least 5"),
        ({"coarse": 6, "fine": 16}, "a power of two"),
        ({"coarse": 6, "fine": 6}, "fine odd"),
        ({"tolerance": 0}, "tolerance must be a positive fraction"),
        ({"span": -1}, "span must be a positive number"),
    ],
)
def test_bad_sizes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        refine(lambda c: c[:, 0], **options)


def test_subdivision_next_to_a_hole_uses_what_is_left():
    x = np.arange(8.0)
    values = np.repeat((x**2)[:, None], 8, axis=1)
    values[7] = np.nan
    fine = subdivide(values)
    np.testing.assert_allclose(fine[:10:2, 0], x[:5] ** 2)
    np.testing.assert_allclose(fine[1:10:2, 1], (x[:5] + 0.5) ** 2)
    assert fine[11, 0] == (25 + 36) / 2
    assert np.isnan(fine[13:]).all()
    cells = bending(values)
    assert np.isinf(cells[5:]).all()
    assert np.isfinite(cells[:5]).all()
    marked = points_of_cells(np.eye(2, dtype=bool), 9)
    assert np.argwhere(marked).tolist() == [
        [0, 0], [0, 2], [0, 4], [2, 0], [2, 2], [2, 4], [4, 0], [4, 2], [4, 4], [4, 6], [4, 8], [6, 4], [6, 6], [6, 8],
        [8, 4], [8, 6], [8, 8],
    ]  # fmt: skip


def trained():
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    data = list(zip(x.split(80), y.split(80), strict=True))
    right = {"right": lambda m, b: (m(b[0]).argmax(1) == b[1]).float().mean()}
    return model, Objective(lambda m, b: F.cross_entropy(m(b[0]), b[1]), data, right)


def test_surface_of_a_trained_model(tmp_path):
    model, objective = trained()
    directions = random_directions(model, 2, seed=1)
    found = evaluate_adaptive(model, objective, directions, coarse=13, fine=49, engine="inplace")
    full = evaluate(model, objective, directions, grid(49), engine="inplace")
    assert found.shape == (49, 49)
    assert np.array_equal(found.coordinates, full.coordinates)
    mask = found.metrics["measured"] == 1
    assert found.provenance["adaptive"]["measured"] == mask.sum() <= 0.35 * 49**2
    assert found.provenance["adaptive"]["saved"] == 49**2 - mask.sum()
    assert np.array_equal(found.losses[mask], full.losses[mask])
    assert np.array_equal(found.metrics["right"][mask], full.metrics["right"][mask])
    assert np.array_equal(found.standard_error[mask], full.standard_error[mask])
    assert found.metrics["right"].max() <= 1
    assert found.standard_error.min() >= 0
    assert np.abs(found.losses - full.losses).max() <= 0.01 * np.ptp(full.losses)
    assert found.center == full.center
    found.save(tmp_path / "surface.npz")
    assert LossSurface.load(tmp_path / "surface.npz").provenance["adaptive"] == found.provenance["adaptive"]


def test_closures_and_wrong_arguments():
    model, objective = trained()
    x, y = objective.loader[0]
    found = evaluate_adaptive(
        model, lambda: F.cross_entropy(model(x), y), random_directions(model), coarse=6, fine=11, span=(0.0, 1.0)
    )
    assert found.standard_error is None
    assert list(found.metrics) == ["measured"]
    assert found.axes[0][[0, -1]].tolist() == [0, 1]
    with pytest.raises(ValueError, match="there are 3 directions"):
        evaluate_adaptive(model, objective, random_directions(model, 3))
    named = Objective(objective.loss_fn, objective.loader, {"measured": objective.loss_fn})
    with pytest.raises(ValueError, match="no metric may be called 'measured'"):
        evaluate_adaptive(model, named, random_directions(model))
