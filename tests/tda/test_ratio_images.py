"""TopoCNN's images against the published code's values and a literal drawing."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrscape.tda import corrected_image, log_ratio_image, persistence, published_image

REFERENCE = Path(__file__).parents[1] / "reference"
NAMES = ("bowl", "two_wells", "saddle", "const", "ripple")
INF = float("inf")


@pytest.fixture(scope="module")
def values():
    return json.loads((REFERENCE / "topoadamw.json").read_text())


@pytest.fixture(scope="module")
def arrays():
    with np.load(REFERENCE / "topoadamw.npz") as stored:
        return dict(stored)


def draw_literally(pairs, center, maximum):
    """The definition, pixel by pixel and point by point."""
    clip = lambda ratio: min(max(np.log(max(ratio, 1.0)) / np.log(5), 0), 1)  # noqa: E731
    center = max(center, 1e-8)
    points = [(clip(center / (b + 1e-8)), clip(min(d, maximum) / (center + 1e-8))) for b, d in pairs]
    weights = [np.hypot(x, y) for x, y in points]
    image = np.zeros((50, 50))
    for (x, y), weight in zip(points, weights, strict=True):
        for row, column in np.ndindex(50, 50):
            r2 = (column / 49 - x) ** 2 + ((49 - row) / 49 - y) ** 2
            image[row, column] += weight / max(max(weights), 1e-300) * np.exp(-r2 / (2 * 0.04**2))
    return image / max(image.max(), 1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_published_images_of_analytic_grids(name, values, arrays):
    image = published_image(values["analytic"][name]["grid"])
    assert image.shape == (2, 50, 50)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0], arrays[f"img_{name}"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(image[0], image[1])


def test_published_image_of_the_measured_grid(values, arrays):
    image = published_image(arrays["grid"])[0]
    np.testing.assert_allclose(image, arrays["img"], rtol=0, atol=1e-6)
    assert image.sum() == pytest.approx(15.222657, abs=1e-4)
    assert np.unravel_index(image.argmax(), image.shape) == (45, 0)


@pytest.mark.parametrize(("cells", "key"), [("top", "pairs_topcells"), ("vertices", "pairs_vertices")])
def test_diagrams_of_the_reference_grids(cells, key, values):
    for entry in [values["dense"], *values["analytic"].values()]:
        found = persistence(entry["grid"], cells)
        for dimension in (0, 1):
            stored = sorted((b, INF if d is None else d) for k, b, d in entry[key] if k == dimension)
            np.testing.assert_allclose(found[dimension], np.reshape(stored, (-1, 2)), rtol=0, atol=1e-12)


def test_ripple_has_six_pairs_on_top_cells_and_ten_on_vertices(values):
    grid = values["analytic"]["ripple"]["grid"]
    assert [len(persistence(grid, cells)[0]) for cells in ("top", "vertices")] == [6, 10]


@pytest.mark.parametrize("size", [7, 15])
def test_log_ratio_image_is_its_definition(size):
    for seed in range(3):
        grid = np.random.default_rng(seed).uniform(0.2, 3.0, (size, size))
        pairs, center = persistence(grid, "top")[0], grid[size // 2, size // 2]
        expected = draw_literally(pairs, center, grid.max())
        np.testing.assert_allclose(log_ratio_image(pairs, center, grid.max()), expected, atol=1e-12)
        np.testing.assert_allclose(published_image(grid)[1], expected, atol=1e-6)


def test_corrected_image_is_its_definition():
    grid = np.random.default_rng(0).uniform(0.5, 2.0, (15, 15))
    center = grid[7, 7]
    ticks = np.linspace(0, 1, 50)
    expected = np.zeros((2, 50, 50))
    for dimension, points in enumerate(persistence(grid)):
        for birth, death in points:
            u = 0.5 + 0.5 * np.log(birth / center) / np.log(5)
            v = np.log(min(death, grid.max()) / birth) / np.log(5)
            r2 = (ticks[None, :] - u) ** 2 + (ticks[::-1, None] - v) ** 2
            expected[dimension] += v * np.exp(-r2 / (2 * 0.04**2))
    image = corrected_image(grid)
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert image.dtype == np.float32
    assert image[1].any()


def test_published_image_throws_amplitude_away_and_corrected_keeps_it():
    axis = np.linspace(-1, 1, 15)
    bowl = axis[:, None] ** 2 + axis[None, :] ** 2
    shallow, steep = 1 + 0.05 * bowl, 1 + bowl
    assert published_image(shallow).max() == published_image(steep).max() == 1.0
    assert corrected_image(shallow).max() < 0.1
    assert corrected_image(steep).max() > 0.6


def test_corrected_image_sees_loops_and_does_not_see_pairs_of_no_length():
    grid = np.full((15, 15), 1.0)
    grid[3, 3] = 3.0  # a peak: a loop around it
    image = corrected_image(grid)
    assert image[1].max() == pytest.approx(np.log(3) / np.log(5), abs=0.05)
    # A tiny pair high above the centre is invisible, where the published weight makes it bright.
    high = np.full((15, 15), 4.0)
    high[7, 7] = 1.0
    dented = high.copy()
    dented[2, 2] -= 1e-9
    assert np.abs(corrected_image(dented) - corrected_image(high)).max() < 1e-6
    assert np.abs(published_image(dented) - published_image(high)).max() < 1e-6  # one pixel: x = 0, y = 1 either way
    twice = log_ratio_image([(1.0, INF), (2.0 - 1e-9, 2.0)], 1.0, 4.0)
    assert np.abs(twice - log_ratio_image([(1.0, INF)], 1.0, 4.0)).max() > 0.4


def test_scaling_the_loss_changes_nothing():
    grid = np.random.default_rng(1).uniform(0.5, 2.0, (7, 7))
    for make in (published_image, corrected_image):
        np.testing.assert_allclose(make(grid), make(8.0 * grid), atol=1e-5)


@pytest.mark.parametrize("make", [published_image, corrected_image])
@pytest.mark.parametrize("value", [1.5, 0.0, -2.0])
def test_a_constant_grid_gives_zeros(make, value):
    assert not make(np.full((7, 7), value)).any()


@settings(max_examples=100)
@given(st.integers(0, 100_000), st.floats(-300, 300), st.sampled_from([1, 3, 7, 15]))
def test_finite_grids_give_finite_images(seed, exponent, size):
    random = np.random.default_rng(seed)
    grid = random.standard_normal((size, size)) * 10.0**exponent
    if seed % 2:
        grid = np.abs(grid)
    if seed % 5 == 0:
        grid[random.random(grid.shape) < 0.3] = random.choice([0.0, -1e-8])
    for make in (published_image, corrected_image):
        image = make(grid)
        assert image.shape == (2, 50, 50)
        assert np.isfinite(image).all()
        assert (image >= 0).all()
    assert published_image(grid).max() in {0.0, 1.0}


@pytest.mark.parametrize("make", [published_image, corrected_image])
@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (np.ones((6, 6)), "grid must have an odd size, got 6×6, which has no centre; use 7×7"),
        (np.ones((3, 5)), "grid must be square"),
        (np.ones(7), "grid must be square"),
        ([[1.0, 1.0, 1.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0]], "grid must be finite, got 2 of 9"),
    ],
)
def test_grids_without_an_image_are_refused(make, grid, message):
    with pytest.raises(ValueError, match=message):
        make(grid)


def test_options_are_checked():
    with pytest.raises(ValueError, match="center and maximum must be finite"):
        log_ratio_image([], float("nan"), 1.0)
    with pytest.raises(ValueError, match="resolution must be"):
        log_ratio_image([], 1.0, 1.0, resolution=1)
    with pytest.raises(ValueError, match="cap must be"):
        corrected_image(np.ones((3, 3)), cap=1.0)
    assert not log_ratio_image([], 1.0, 1.0).any()
    assert corrected_image(np.ones((3, 3)), resolution=20, cells="top").shape == (2, 20, 20)
