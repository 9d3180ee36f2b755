"""The 3-D surface: heights, holes and labels."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape import viz


def test_draws_on_the_given_axes_and_makes_no_figure(surface, space):
    assert viz.surface3d(surface, space) is space
    assert len(plt.get_fignums()) == 1


def test_labels(surface):
    ax = viz.surface3d(surface, title="bowl")
    assert ax.get_xlabel() == "direction 1\n(filter-normalised)"
    assert (ax.get_zlabel(), ax.get_title()) == ("loss", "bowl")
    assert viz.surface3d(surface, metric="top_1").get_zlabel() == "top 1"


@pytest.mark.parametrize("width", [3.4, 6.0])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_nothing_is_cut_off(surface, width, layout):
    figure = plt.figure(figsize=(width, 0.85 * width), layout=layout)
    ax = viz.surface3d(surface, figure.add_subplot(projection="3d"), log=True, title="bowl")
    figure.canvas.draw()
    for artist in (ax.xaxis, ax.yaxis, ax.zaxis, ax.title):
        box = artist.get_tightbbox(figure.canvas.get_renderer())
        whole = figure.bbox
        if layout == "constrained":
            assert min(box.x0, box.y0) >= 0
            assert box.x1 <= whole.x1
            assert box.y1 <= whole.y1


def test_log_heights_have_readable_ticks(surface):
    ax = viz.surface3d(surface, log=True, floor=False)
    assert ax.get_zlim() == pytest.approx(np.log10([surface.losses.min(), surface.losses.max()]), abs=0.2)
    texts = [label.get_text() for label in ax.get_zticklabels()]
    assert 10 ** ax.get_zticks() == pytest.approx([float(text) for text in texts])


def test_log_of_values_at_or_below_zero_says_what_to_do(surface):
    with pytest.raises(ValueError, match="log=True needs values above 0"):
        viz.surface3d(replace(surface, losses=surface.losses - 0.1), log=True)


def facets(ax):
    return next(c for c in ax.collections if type(c).__name__ == "Poly3DCollection" and not hasattr(c, "levels"))


def test_missing_values_leave_holes_and_a_note(surface, space):
    losses = surface.losses.copy()
    losses[0], losses[-1] = np.nan, np.inf
    viz.surface3d(replace(surface, losses=losses), space)
    space.figure.canvas.draw()
    assert [text.get_text() for text in space.texts] == ["hole: 2 points not finite"]
    whole = [path for path in facets(space).get_paths() if np.isfinite(path.vertices).all()]
    assert len(whole) == 10 * 10 - 2


def colors(values, axes=None, **options):
    """The colours of the facets, shape (n - 1, m - 1, 3)."""
    axes = [np.linspace(-1, 1, length) for length in values.shape] if axes is None else axes
    ax = viz.surface3d(values, axes=axes, floor=False, **options)
    # In the order of the grid; what get_facecolor gives is sorted by distance from the eye.
    return facets(ax)._facecolor3d[:, :3].reshape(values.shape[0] - 1, values.shape[1] - 1, 3)


def hue(rgb):
    """What the light leaves as it is."""
    return rgb / rgb.max(axis=-1, keepdims=True)


@pytest.mark.parametrize("corner", [(0, 0), (0, 2), (2, 0), (2, 2)])
def test_a_facet_has_the_colour_of_its_middle(corner):
    peak = np.zeros((3, 3))
    peak[corner] = 1
    drawn = colors(peak)
    middle = np.zeros((2, 2))
    middle[corner[0] // 2, corner[1] // 2] = 0.25
    assert hue(drawn) == pytest.approx(hue(mpl.colormaps["viridis"](middle)[..., :3]))


def test_colours_follow_a_mirrored_surface():
    u = np.linspace(-1, 1, 8)
    values = (u[:, None] - 0.3) ** 2 + 2 * (u + 0.1) ** 2 + u[:, None] * u
    drawn = colors(values)
    assert hue(colors(values[::-1])) == pytest.approx(hue(drawn[::-1]))
    assert hue(colors(values[:, ::-1])) == pytest.approx(hue(drawn[:, ::-1]))
    assert colors(values[::-1, ::-1].T) == pytest.approx(drawn[::-1, ::-1].transpose(1, 0, 2))  # along the light, too


def test_all_the_colour_map_is_used():
    ramp = np.repeat(np.linspace(0, 1, 51)[:, None], 2, axis=1)
    drawn = hue(colors(ramp))[[0, -1], 0]
    assert drawn == pytest.approx(hue(mpl.colormaps["viridis"]([0.01, 0.99])[:, :3]))
    logs = hue(colors(10**ramp, log=True))
    assert logs == pytest.approx(hue(colors(ramp)))  # the colour of the height that is drawn


def test_a_facet_beside_a_hole_has_the_colour_of_its_corners():
    values = np.zeros((3, 3))
    values[0, 0], values[1, 1] = np.nan, 1.0
    drawn = colors(values)
    assert hue(drawn[0, 0]) == pytest.approx(hue(mpl.colormaps["viridis"](1 / 3)[:3] * np.ones((1, 3)))[0])
    assert np.isfinite(drawn).all()


def test_fewer_facets_have_the_colours_of_their_own_corners():
    u = np.linspace(0, 1, 9)
    ax = viz.surface3d(u[:, None] + 0 * u, axes=(u, u), floor=False, rcount=2, ccount=2)
    drawn = facets(ax)._facecolor3d[:, :3]
    assert hue(drawn) == pytest.approx(hue(mpl.colormaps["viridis"]([0.3125] * 2 + [0.8125] * 2)[:, :3]))


@pytest.mark.parametrize("size", [None, (3.25, 2.6)])
@pytest.mark.parametrize("azimuth", [-55, 30, 120, -120])
@pytest.mark.parametrize(("low", "high"), [(0.192, 0.209), (2e-6, 2e-5), (1e6, 1e6 + 1), (0.0, 1.5e32)])
def test_numbers_and_name_of_the_height_lie_side_by_side(surface, low, high, azimuth, size):
    unit = (surface.losses - surface.losses.min()) / np.ptp(surface.losses)
    own = None if size is None else plt.figure(figsize=size, layout="constrained").add_subplot(projection="3d")
    ax = viz.surface3d(replace(surface, losses=low + (high - low) * unit), own, azimuth=azimuth)
    ax.figure.canvas.draw()
    line, name = ax.zaxis.line.get_window_extent(), ax.zaxis.label.get_window_extent()
    boxes = [tick.label1.get_window_extent() for tick in ax.zaxis.get_major_ticks() if tick.label1.get_text()]
    texts = [tick.label1.get_text() for tick in ax.zaxis.get_major_ticks()]
    assert len(set(texts)) == len(texts) >= 3
    right = name.x0 > line.x1
    for box in boxes:
        assert box.width > 0
        assert box.x0 > line.x0 if right else box.x1 < line.x1
        assert box.x1 < name.x0 if right else box.x0 > name.x1
    if size is None:
        assert 0 <= name.x0 < name.x1 <= ax.figure.bbox.x1


def test_a_long_title_and_a_long_name_fit(surface):
    title = "A title that says at length which model this is, and of which run, and when it was measured"
    ax = viz.surface3d(surface, label="validation cross-entropy loss per token (nats)", title=title)
    assert ax.get_title().split() == title.split()
    ax.figure.canvas.draw()
    box, (wide, tall) = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert min(box.x0, box.y0, wide - box.x1, tall - box.y1) >= 0


def test_limits_fix_the_heights(surface):
    ax = viz.surface3d(surface, limits=(0.0, 2.0), floor=False)
    assert ax.get_zlim() == pytest.approx((0.0, 2.0), abs=0.1)


def test_needs_a_3d_axes_and_a_2d_grid(surface, profile, ax):
    with pytest.raises(ValueError, match=r'make it with add_subplot\(projection="3d"\)'):
        viz.surface3d(surface, ax)
    with pytest.raises(ValueError, match=r"use viz\.line"):
        viz.surface3d(profile)
    with pytest.raises(ValueError, match="at least 2 points"):
        viz.surface3d(np.ones((1, 3)), axes=([0.0], [0.0, 1.0, 2.0]))


def test_a_constant_surface_is_flat(surface):
    viz.surface3d(replace(surface, losses=np.zeros(121))).figure.canvas.draw()


def test_a_path_lies_on_the_floor(surface):
    ax = viz.surface3d(surface, path=[[0.5, 0.5], [0.2, 0.1], [0.0, 0.0]])
    line, dots, square = ax.lines[:3]
    assert np.array(line.get_data_3d())[:2].T.tolist() == [[0.5, 0.5], [0.2, 0.1], [0.0, 0.0]]
    assert set(line.get_data_3d()[2]) == {ax.get_zlim()[0]} or np.ptp(line.get_data_3d()[2]) == 0
    assert [len(one.get_data_3d()[0]) for one in (dots, square)] == [1, 1]
