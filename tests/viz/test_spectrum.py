"""Spectra: the curve, the strokes, the marks, and what is said about them."""

import dataclasses

import numpy as np
import pytest
from curved import Explicit
from matplotlib import pyplot as plt

from lrscape import viz
from lrscape.landscape import spectral_density, top_eigenvalues


@pytest.fixture(scope="module")
def operator():
    return Explicit(np.diag(np.concatenate([np.linspace(-0.1, 1, 199), [8.0]])))


@pytest.fixture(scope="module")
def density(operator):
    return spectral_density(None, operator, vectors=3, steps=20)


@pytest.fixture(scope="module")
def ends(operator):
    return top_eigenvalues(None, operator, 2, which="both", max_hvps=30)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_draws_on_the_given_axes_and_makes_no_figure(density, ax):
    assert viz.spectrum(density, ax) is ax
    assert len(plt.get_fignums()) == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eigenvalue (loss/step²)", "density of eigenvalues")
    assert ax.get_yscale() == "log"


def test_the_curve_is_the_density_and_the_strokes_are_ritz_values(density):
    ax = viz.spectrum(density, title="Digits")
    curve, guide, strokes = ax.lines
    assert np.array_equal(curve.get_xydata(), np.column_stack([density.grid, density.density]))
    assert np.array_equal(strokes.get_xdata(), density.ritz_values)
    single = 1 / (200 * density.sigma * np.sqrt(2 * np.pi))
    assert guide.get_ydata() == pytest.approx([single] * 2)
    assert ax.get_ylim()[0] == pytest.approx(single / 10)
    peak = density.density[np.argmin(np.abs(density.grid - 8))]
    assert peak == pytest.approx(single, rel=0.01)  # the outlier is one eigenvalue
    assert ax.get_title() == "Digits"
    texts = legend_texts(ax)
    assert texts[0].startswith("smoothed with σ = 0.08")
    assert texts[1:] == ["± 2 standard errors", "one eigenvalue", "Ritz values (60)"]


def test_the_band_stays_within_the_picture(density):
    ax = viz.spectrum(density)
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() >= ax.get_ylim()[0] * (1 - 1e-9)
    middle = np.argmin(np.abs(density.grid - 0.5))
    assert heights.max() >= density.density[middle]


def test_the_outermost_eigenvalues_have_their_residuals(density, ends):
    ax = viz.spectrum(density, eigenvalues=ends)
    (marks,) = ax.containers
    assert np.array_equal(marks.lines[0].get_xdata(), ends.eigenvalues)
    assert "outermost (4) ± residual" in legend_texts(ax)
    bars = np.array([segment[:, 0] for segment in marks.lines[2][0].get_segments()])
    np.testing.assert_allclose(bars[:, 0], ends.eigenvalues - ends.residuals)
    np.testing.assert_allclose(bars[:, 1], ends.eigenvalues + ends.residuals)


def test_linear_scale_and_a_single_vector(operator):
    ax = viz.spectrum(spectral_density(None, operator, vectors=1, steps=10), log=False, color="black")
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] == 0
    assert not ax.collections
    assert "± 2 standard errors" not in legend_texts(ax)
    assert ax.lines[0].get_color() == "black"


def test_wrong_arguments_are_named(density, ends):
    with pytest.raises(TypeError, match=r"density must come from landscape\.spectral_density, .* got TopEigenvalues"):
        viz.spectrum(ends)
    with pytest.raises(TypeError, match="eigenvalues must come from"):
        viz.spectrum(density, eigenvalues=[1.0])
    lost = dataclasses.replace(density, density=np.full(1024, np.nan))
    with pytest.raises(ValueError, match="the density is not finite"):
        viz.spectrum(lost)
    assert not plt.get_fignums()


def test_all_eigenvalues_of_a_matrix():
    """The density of given eigenvalues is the mean of Gaussians on them."""
    eigenvalues = [3.0, -1.0, 0.5, 0.5]
    ax = viz.spectrum(eigenvalues)
    x, density = ax.lines[0].get_data()
    sigma = 0.04
    slowly = [np.mean([np.exp(-0.5 * ((t - e) / sigma) ** 2) for e in eigenvalues]) for t in x]
    assert density == pytest.approx(np.array(slowly) / (sigma * np.sqrt(2 * np.pi)))
    assert "eigenvalues (4)" in [text.get_text() for text in ax.get_legend().get_texts()]
    for wrong in ([], [np.nan], np.ones((2, 2))):
        with pytest.raises(ValueError, match="eigenvalues"):
            viz.spectrum(wrong)
