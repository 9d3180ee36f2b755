"""What the galleries' figures are made of: slices of a cube, the points that were measured, surfaces that are kept."""

import numpy as np

from lrscape import landscape
from lrscape.benchmarks import gallery
from lrscape.landscape import LossSurface


def test_a_slice_is_what_was_measured_there():
    points = landscape.grid(3, dims=3)
    losses = points.coordinates @ [1.0, 10.0, 100.0]
    cube = LossSurface(points.coordinates, losses, points.shape, provenance={"norm": "filter"})
    for index, third in enumerate(cube.axes[2]):
        cut = gallery.slice_of(cube, index)
        np.testing.assert_allclose(cut.losses, cut.coordinates @ [1.0, 10.0] + 100 * third)
        np.testing.assert_array_equal(cut.values, cube.values[:, :, index])
        assert cut.provenance == {"norm": "filter", "third_coordinate": third}


def test_a_dot_stands_at_each_measured_point():
    points = landscape.grid(5)
    taken = np.arange(25) % 3 == 0
    losses = 1 + (points.coordinates**2).sum(1)
    surface = LossSurface(points.coordinates, losses, points.shape, metrics={"measured": taken.astype(float)})
    ax = gallery.draw_measured(surface)
    np.testing.assert_array_equal(np.stack(ax.lines[-1].get_data(), 1), points.coordinates[taken])
    assert ax.get_title() == "9 of 25 points measured"


def test_what_is_kept_is_not_measured_again(tmp_path):
    points = landscape.line(3)
    calls = []

    def measure():
        calls.append(1)
        return LossSurface(points.coordinates, np.arange(3.0), points.shape)

    for _ in range(2):
        assert gallery.kept(tmp_path / "line.npz", measure).losses.tolist() == [0, 1, 2]
    assert calls == [1]
