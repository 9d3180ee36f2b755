"""One visual language, local to what is drawn."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from lrscape import viz


def lightness(rgb):
    """CIE L* of sRGB colours, shape (..., 3)."""
    rgb = np.asarray(rgb)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def test_colour_map_survives_greyscale():
    steps = np.diff(lightness(mpl.colormaps[viz.LIGHT.cmap](np.linspace(0, 1, 64))[:, :3]))
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()


def test_curves_can_be_told_apart_from_paper():
    paper = lightness(to_rgb(viz.LIGHT.paper))
    assert all(paper - lightness(to_rgb(color)) > 25 for color in viz.LIGHT.series)


def test_import_selects_no_backend_and_loads_no_pyplot():
    code = "import sys, lrscape.viz; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_global_settings_survive_an_error(surface):
    before = dict(mpl.rcParams)
    with pytest.raises(AttributeError):
        viz.contour(surface, no_such_option=1)
    assert dict(mpl.rcParams) == before
    assert not plt.get_fignums()


def test_new_figure_is_readable_whatever_the_users_style(surface):
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "axes.labelcolor": "white"}):
        ax = viz.line(np.arange(3.0), axes=([0.0, 1.0, 2.0],))
    assert to_rgb(ax.get_facecolor()) == to_rgb(viz.LIGHT.paper)
    assert to_rgb(ax.xaxis.label.get_color()) == to_rgb(viz.LIGHT.ink)


def test_users_axes_keep_the_users_colours(surface):
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "axes.labelcolor": "white"}):
        ax = plt.figure().add_subplot()
        viz.contour(surface, ax)
        assert ax.xaxis.label.get_color() == "white"
        assert ax.get_legend().get_texts()[0].get_color() == "white"
