"""Profiles of surfaces whose basins are known."""

import json

import numpy as np
import pytest

from lrscape.tda import profile, simplify

INF = float("inf")


def wells(depths, size=41):
    """A flat surface of height 1 with Gaussian wells of the given depths in a row."""
    axis = np.linspace(-1, 1, size)
    centers = np.linspace(-0.6, 0.6, len(depths))
    x, y = np.meshgrid(axis, axis, indexing="ij")
    return 1 - sum(d * np.exp(-((x - c) ** 2 + y**2) / 0.02) for d, c in zip(depths, centers, strict=True))


def test_wells_are_counted_and_measured():
    found = profile(wells([0.5, 1.0, 0.25]))
    assert found.n_basins == 3
    np.testing.assert_allclose(found.heights, [0.0, 0.5, 0.75], atol=1e-3)
    np.testing.assert_allclose(found.depths, [1.0, 0.5, 0.25], atol=0.02)
    np.testing.assert_allclose(found.barriers, [0.0, 1.0, 1.0], atol=0.02)
    assert found.minima.tolist() == [[20, 20], [8, 20], [32, 20]]
    assert found.roughness == pytest.approx(0.75, abs=0.03)
    assert (found.noise_floor, found.noise_share, found.holes) == (0.0, 0.0, 0)
    assert found.n_loops == 0


def test_noise_removes_what_it_could_have_made():
    surface = wells([0.5, 1.0, 0.25])
    assert [profile(surface, noise=error).n_basins for error in (0.0, 0.01, 0.04, 0.1, 9.0)] == [3, 3, 2, 1, 1]
    assert profile(surface, noise=0.04).noise_share == pytest.approx(1 / 3, abs=0.02)
    # z = Φ⁻¹(1 − .05/(2·1681)) = 4.17
    assert profile(surface, noise=0.1).noise_floor == pytest.approx(2 * 0.1 * 4.17, abs=1e-2)
    assert profile(surface, noise=0.1, confidence=0.5).noise_floor < profile(surface, noise=0.1).noise_floor


def test_pure_noise_has_one_basin_at_the_stated_confidence():
    counts = [profile(np.random.default_rng(seed).standard_normal((15, 15)), noise=1.0).n_basins for seed in range(50)]
    assert np.mean(np.array(counts) > 1) <= 0.05
    assert profile(np.random.default_rng(0).standard_normal((15, 15))).n_basins > 20


def test_noise_may_differ_between_cells():
    surface = wells([0.5, 1.0, 0.25])
    noise = np.full(surface.shape, 0.001)
    noise[:15] = 0.2  # around the well of depth .5
    found = profile(surface, noise=noise)
    assert found.heights == pytest.approx([0.0, 0.75], abs=1e-3)
    assert found.noise_floor == pytest.approx(2 * 0.2 * 4.17, abs=0.02)


def test_basins_are_those_that_simplification_leaves():
    surface = np.random.default_rng(1).standard_normal((20, 20))
    found = profile(surface, noise=0.1)
    left = profile(simplify(surface, np.nextafter(found.noise_floor, 9.0)))
    assert found.n_basins == left.n_basins
    np.testing.assert_array_equal(found.barriers, left.barriers)
    np.testing.assert_array_equal(found.minima, left.minima)


def test_barriers_add_up_over_a_chain():
    found = profile([0.0, 9.0, 2.0, 5.0, 3.0, 4.0, 3.5])
    assert found.depths.tolist() == [9.0, 7.0, 2.0, 0.5]
    assert found.barriers.tolist() == [0.0, 9.0, 9.0, 9.0]
    assert profile([3.0, 9.0, 0.0, 5.0, 2.0]).barriers.tolist() == [0.0, 5.0, 9.0]


def test_loops_are_peaks_on_low_ground():
    surface = np.ones((9, 9))
    surface[2, 2], surface[6, 6] = 3.0, 1.2
    assert profile(surface).n_loops == 2
    assert profile(surface, noise=0.05).n_loops == 1
    assert profile(surface[2]).n_loops == 0


def test_holes_cut_basins_off():
    found = profile([1.0, 4.0, np.nan, 0.0, np.inf, 2.0])
    assert found.holes == 2
    assert found.heights.tolist() == [0.0, 1.0, 2.0]
    assert found.depths.tolist() == [4.0, 3.0, 2.0]
    assert found.barriers.tolist() == [0.0, INF, INF]
    assert "2 cells without a value" in found.summary()


def test_constant_and_empty_surfaces():
    flat = profile(np.ones((5, 5)), noise=0.1)
    assert (flat.n_basins, flat.n_loops, flat.roughness, flat.noise_share) == (1, 0, 0.0, 0.0)
    assert flat.depths.tolist() == flat.barriers.tolist() == [0.0]
    nothing = profile(np.full((5, 5), np.nan), noise=np.full((5, 5), np.nan))
    assert (nothing.n_basins, nothing.holes, len(nothing.minima)) == (0, 25, 0)
    assert np.isnan(nothing.lowest)
    assert "0 basins" in nothing.summary()


def test_summary_and_dictionary_can_be_read():
    found = profile(wells([0.5, 1.0, 0.25]), noise=0.01)
    lines = found.summary().splitlines()
    assert lines[0].startswith("3 basins, 0 loops; values")
    assert lines[1].startswith("  noise floor 0.0835; 0% of the roughness lies within it")
    assert lines[2].startswith("  at (20, 20): value")
    rough = profile(np.random.default_rng(0).standard_normal((15, 15)))
    assert rough.summary().splitlines()[-1] == f"  and {rough.n_basins - 5} more"
    stored = json.loads(json.dumps(found.as_dict()))
    assert stored["n_basins"] == 3
    assert stored["minima"] == [[20, 20], [8, 20], [32, 20]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -1.0}, "noise must be finite and not negative"),
        ({"noise": [np.nan, 1.0]}, "noise must be finite"),
        ({"noise": [1.0, 1.0, 1.0]}, "noise must be one standard error or one for each value"),
        ({"confidence": 1.0}, "confidence must lie"),
        ({"cells": "pixels"}, "cells must be"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        profile([1.0, 2.0], **arguments)
