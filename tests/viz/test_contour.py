"""The contour plot says what it shows, also where there is nothing to show."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.contour import QuadContourSet

from lrscape import viz
from lrscape.landscape import LossSurface, grid, points


def legend_texts(ax):
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def filled(ax):
    return next(c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled)


def test_draws_on_the_given_axes_and_makes_no_figure(surface, ax):
    assert viz.contour(surface, ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(("log", "lower"), [(True, 0.0), (False, 5.0)])
def test_isolines_are_solid_where_numbers_are_negative(surface, ax, log, lower):
    viz.contour(replace(surface, losses=surface.losses - lower), ax, log=log)
    lines = next(c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled)
    assert min(lines.levels) < 0
    assert {style for _, style in lines.get_linestyle()} == {None}


def test_makes_one_figure_without_axes(surface):
    ax = viz.contour(surface)
    assert plt.get_fignums() == [ax.figure.number]


@pytest.mark.parametrize(
    ("provenance", "label"),
    [
        ({"norm": "filter", "direction_norms": [1.0, 2.0]}, "direction 2 (filter-normalised)"),
        ({"norm": "layer"}, "direction 2 (layer-normalised)"),
        ({"norm": "none", "direction_norms": [1.0, 12.345]}, "direction 2 (1 unit has norm 12.3)"),
        ({"direction_norms": [1.0, 0.9999999]}, "direction 2 (distance)"),
        ({"explained_variance": [0.9, 0.051], "direction_norms": [1.0, 1.0]}, "direction 2 (5.1 % of variance)"),
        ({}, "direction 2"),
    ],
)
def test_labels_say_what_a_unit_is(surface, provenance, label):
    ax = viz.contour(replace(surface, provenance=provenance))
    assert ax.get_ylabel() == label
    assert ax.get_aspect() == 1


def test_first_direction_runs_to_the_right(surface, ax):
    viz.contour(surface, ax, mark_center=False)
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((0.2, -0.4))
    # The lowest band lies around the star, not around its mirror image.
    lowest = filled(ax).get_paths()[0]
    assert lowest.contains_point((0.2, -0.4))
    assert not lowest.contains_point((-0.4, 0.2))


def test_color_bar_names_the_values(surface):
    assert viz.contour(surface).child_axes[0].get_ylabel() == "loss"
    assert viz.contour(surface, metric="top_1").child_axes[0].get_ylabel() == "top 1"
    assert not viz.contour(surface, colorbar=False).child_axes


def test_color_bar_stays_inside_a_figure_without_layout(surface, ax):
    viz.contour(surface, ax)
    bar = ax.figure.axes[1]
    ax.figure.canvas.draw()
    assert bar.get_position().x1 < 1
    assert bar.get_window_extent().height == pytest.approx(ax.get_window_extent().height)


def test_isolines_carry_values_without_color_bar(surface):
    assert viz.contour(surface, colorbar=False).texts
    assert not viz.contour(surface).texts


def test_legend_gives_center_and_lowest_loss_also_for_a_metric(surface):
    assert legend_texts(viz.contour(surface)) == ["centre: loss 0.66", "lowest loss 0.1"]
    # The lowest loss is no extreme of an accuracy: it is marked there only if that is asked for.
    assert legend_texts(viz.contour(surface, metric="top_1")) == ["centre: top 1 0.602"]
    both = viz.contour(surface, metric="top_1", mark_minimum=True)
    assert legend_texts(both) == ["centre: top 1 0.602", "lowest loss 0.1"]
    assert legend_texts(viz.contour(surface, mark_center=False, mark_minimum=False)) == []


def test_log_levels_have_equal_ratios(surface):
    levels = filled(viz.contour(surface, log=True)).levels  # the logarithms, which are what is drawn
    assert np.diff(levels) == pytest.approx(levels[1] - levels[0])
    assert 10 ** levels[[0, -1]] == pytest.approx([surface.losses.min(), surface.losses.max()])


def test_log_isolines_lie_where_the_logarithm_says():
    u = np.linspace(-1, 1, 11)
    values = 10 ** (2 * (u[:, None] ** 2 + u**2))  # each isoline is a circle
    powers = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
    ax = viz.contour(values, axes=(u, u), log=True, levels=[1, *10**powers, 1e5], mark_center=False)
    lines = next(c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled)
    assert lines.levels == pytest.approx(powers)
    ax = viz.contour(np.log10(values), axes=(u, u), levels=[0, *powers, 5], mark_center=False)
    same = next(c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled)
    for power, path, other in zip(powers, lines.get_paths(), same.get_paths(), strict=True):
        radii = np.linalg.norm(path.vertices, axis=1)
        assert radii == pytest.approx(np.sqrt(power / 2), abs=0.012)  # interpolated from the values, .03 too small
        assert path.vertices == pytest.approx(other.vertices)


def test_log_numbers_are_values_at_their_logarithms(surface):
    ax = viz.contour(surface, log=True)
    bar = ax.child_axes[0]
    ax.figure.canvas.draw()
    texts = [text.get_text() for text in bar.get_yticklabels()]
    assert len(texts) >= 3
    assert 10 ** bar.get_yticks() == pytest.approx([float(text) for text in texts])
    isolines = {float(text.get_text()) for text in viz.contour(surface, log=True, colorbar=False).texts}
    assert min(isolines) > surface.losses.min()
    assert max(isolines) < surface.losses.max()


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.1923, 0.1948), (2.3, 2.306), (1e6, 1e6 + 1), (2.29999, 2.30001)])
def test_numbers_of_a_narrow_range_differ(surface, low, high, log):
    unit = (surface.losses - surface.losses.min()) / np.ptp(surface.losses)
    ax = viz.contour(replace(surface, losses=low + (high - low) * unit), log=log)
    ax.figure.canvas.draw()
    texts = [text.get_text() for text in ax.child_axes[0].get_yticklabels()]
    assert len(set(texts)) == len(texts) >= 3
    center, lowest = legend_texts(ax)
    assert center.removeprefix("centre: loss ") != lowest.removeprefix("lowest loss ")


def test_log_of_values_at_or_below_zero_says_what_to_do(surface):
    low = replace(surface, losses=surface.losses - 0.5)
    with pytest.raises(ValueError, match=r"log=True needs values above 0.*lowest is -0\.4.*log=False"):
        viz.contour(low, log=True)
    assert not plt.get_fignums()


def test_missing_values_are_hatched_and_counted(surface, ax):
    losses = surface.losses.copy()
    losses[:5], losses[7] = np.nan, np.inf
    viz.contour(replace(surface, losses=losses), ax)
    assert [patch.get_hatch() for patch in ax.patches] == ["/////"]
    assert legend_texts(ax)[-1] == "not finite (6 points)"


def test_a_center_that_is_not_finite_is_named(surface):
    losses = surface.losses.copy()
    losses[surface.center_index] = np.nan
    assert "centre: loss not finite" in legend_texts(viz.contour(replace(surface, losses=losses)))


def test_nothing_finite_is_an_error(surface):
    with pytest.raises(ValueError, match="none of the 121 values of loss is finite"):
        viz.contour(replace(surface, losses=np.full(121, np.nan)))


def test_a_constant_surface_has_no_lowest_point(surface):
    ax = viz.contour(replace(surface, losses=np.full(121, 2.0)))
    assert legend_texts(ax) == ["centre: loss 2"]
    viz.contour(replace(surface, losses=np.zeros(121)))
    viz.contour(replace(surface, losses=np.full(121, 2.0)), log=True)


def test_path_is_drawn_and_kept_in_sight(surface, ax):
    viz.contour(surface, ax, path=[(1.5, 0.0), (0.5, 0.5), (0.0, 0.0)])
    assert legend_texts(ax)[0] == "path (from the square)"
    assert ax.get_xlim()[0] == -1
    assert ax.get_xlim()[1] > 1.5
    assert ax.get_ylim() == (-1, 1)


@pytest.mark.parametrize("path", [[0.0, 1.0], [[0.0, 1.0, 2.0]], np.zeros((0, 2)), [[np.nan, 0.0]]])
def test_bad_path(surface, path):
    with pytest.raises(ValueError, match="path must"):
        viz.contour(surface, path=path)


def test_limits_fix_the_colours_of_panels(surface):
    norms = []
    for factor in (1.0, 3.0):
        ax = viz.contour(replace(surface, losses=factor * surface.losses), limits=(0.0, 5.0))
        norms.append((filled(ax).norm.vmin, filled(ax).norm.vmax))
    assert norms[0] == norms[1] == (0.0, 5.0)


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf)])
def test_bad_limits(surface, limits):
    with pytest.raises(ValueError, match="limits must be two finite numbers"):
        viz.contour(surface, limits=limits)


def test_own_levels_may_leave_values_outside(surface):
    drawn = filled(viz.contour(surface, levels=[0.5, 1.0, 2.0]))
    assert drawn.levels.tolist() == [0.5, 1.0, 2.0]
    assert drawn.extend == "both"
    viz.contour(surface, levels=[50.0, 60.0])


@pytest.mark.parametrize("levels", [1, [1.0], [2.0, 1.0]])
def test_bad_levels(surface, levels):
    with pytest.raises(ValueError, match="levels must be"):
        viz.contour(surface, levels=levels)
    with pytest.raises(ValueError, match="levels must be above 0"):
        viz.contour(surface, levels=[0.0, 1.0], log=True)


def test_plain_array_with_axes():
    u, v = np.linspace(-1, 1, 5), np.linspace(0, 3, 7)
    ax = viz.contour(u[:, None] + v, axes=(u, v), label="energy")
    assert ax.get_xlim() == (-1, 1)
    assert ax.get_ylim() == (0, 3)
    assert ax.child_axes[0].get_ylabel() == "energy"
    assert legend_texts(ax) == ["centre: energy 0", "lowest energy −1"]


def test_masked_arrays_have_missing_values():
    u = np.linspace(-1, 1, 5)
    values = np.ma.masked_greater(u[:, None] ** 2 + u**2, 1.9)
    assert "not finite (4 points)" in legend_texts(viz.contour(values, axes=(u, u)))


def test_wrong_dimensions_name_the_right_function(profile, surface):
    with pytest.raises(
        ValueError, match=r"viz\.contour draws 2-D data, but this surface has 1 dimension; use viz\.line"
    ):
        viz.contour(profile)
    cube = grid(3, dims=3)
    with pytest.raises(ValueError, match="has 3 dimensions; draw a slice"):
        viz.contour(LossSurface(cube.coordinates, np.ones(27), shape=cube.shape))
    loose = points(surface.coordinates)
    with pytest.raises(ValueError, match="121 points do not form a grid"):
        viz.contour(LossSurface(loose.coordinates, surface.losses))


def test_arguments_that_do_not_belong_together(surface):
    u = np.linspace(-1, 1, 11)
    with pytest.raises(TypeError, match="axes belongs to plain arrays"):
        viz.contour(surface, axes=(u, u))
    with pytest.raises(TypeError, match="a plain array needs axes="):
        viz.contour(np.ones((2, 3)))
    with pytest.raises(TypeError, match="metric belongs to a LossSurface"):
        viz.contour(surface.values, axes=(u, u), metric="top_1")
    with pytest.raises(ValueError, match="whose metrics are: 'top_1'"):
        viz.contour(surface, metric="top_5")
    with pytest.raises(ValueError, match=r"values of shape \(11, 11\) do not fit axes"):
        viz.contour(surface.values, axes=(u, u[1:]))
    with pytest.raises(ValueError, match="strictly ascending"):
        viz.contour(surface.values, axes=(u, u[::-1]))


def test_wrong_axes(surface, space):
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes, got Figure"):
        viz.contour(surface, space.figure)
    with pytest.raises(ValueError, match="projection '3d'"):
        viz.contour(surface, space)


def test_further_arguments_reach_matplotlib(surface):
    assert filled(viz.contour(surface, alpha=0.5, cmap="cividis")).get_cmap().name == "cividis"


def cut_off(figure):
    """How far something reaches beyond a side of the figure, inches."""
    figure.canvas.draw()
    box, (wide, tall) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - wide, box.y1 - tall)


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("colorbar", [True, False])
def test_nothing_is_cut_off(surface, marks, colorbar):
    ax = viz.contour(surface, mark_center=marks, mark_minimum=marks, colorbar=colorbar)
    assert cut_off(ax.figure) < 0


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(2e-6, 2e-5), (0.192, 0.209), (0.19, 1.9), (0.2, 30.0), (1e6, 1e6 + 1), (2.29999, 2.30001)]
)
def test_no_number_is_cut_off(surface, low, high, log):
    unit = (surface.losses - surface.losses.min()) / np.ptp(surface.losses)
    narrow = replace(surface, losses=low + (high - low) * unit)
    assert cut_off(viz.contour(narrow, log=log).figure) < 0
    assert cut_off(viz.basins(narrow, log=log).figure) < 0


def test_a_long_title_is_wrapped_and_a_long_name_is_not_cut_off(surface):
    title = "A title that says at length which model this is, and of which run, and when it was measured"
    ax = viz.contour(surface, label="validation cross-entropy loss per token (nats)", title=title)
    assert len(ax.get_title().splitlines()) > 1
    assert ax.get_title().split() == title.split()
    assert cut_off(ax.figure) < 0
    short = viz.contour(surface, title="A title")
    assert short.get_title() == "A title"
    formula = viz.contour(surface, title="$" + "+".join(f"x_{{{i}}}" for i in range(30)) + "$")
    assert cut_off(formula.figure) < 0  # cannot be wrapped, so the figure grows
    assert formula.figure.get_figwidth() > short.figure.get_figwidth()


def test_the_users_figure_keeps_its_size(surface):
    figure = plt.figure(figsize=(2, 2), layout="constrained")
    viz.contour(surface, figure.add_subplot(), title="A title that says at length which model this is")
    assert figure.get_size_inches().tolist() == [2, 2]


def test_an_array_with_unlike_coordinates_is_no_needle(surface):
    u = np.linspace(-1, 1, 5)
    values = u[:, None] ** 2 + u**2
    assert viz.contour(values, axes=(u, np.linspace(-10, 90, 5))).get_aspect() == "auto"
    assert viz.contour(values, axes=(u, 3 * u)).get_aspect() == 1
    stretched = replace(surface, coordinates=surface.coordinates * [1, 50])  # whose coordinates are lengths
    assert viz.contour(stretched).get_aspect() == 1


def test_with_limits_nothing_has_to_be_finite(surface):
    ax = viz.contour(replace(surface, losses=np.full(121, np.nan)), limits=(0.0, 1.0))
    assert [patch.get_hatch() for patch in ax.patches] == ["/////"]
    assert legend_texts(ax) == ["centre: loss not finite", "not finite (121 points)"]
