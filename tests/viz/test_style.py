"""One visual language, local to what is drawn."""

import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from lrscape import viz
from lrscape.viz.style import current


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


def test_theme_holds_inside_and_ends_also_after_an_error():
    assert current() is viz.LIGHT
    with viz.theme("dark") as dark:
        assert dark is current() is viz.DARK
        with viz.theme(replace(viz.LIGHT, cmap="cividis")) as own:
            assert current() is own
        assert current() is viz.DARK
    with pytest.raises(RuntimeError), viz.theme("dark"):
        raise RuntimeError
    assert current() is viz.LIGHT


def test_theme_is_that_of_its_thread():
    with viz.theme("dark"):
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [viz.LIGHT]


@pytest.mark.parametrize(("chosen", "kind"), [("sepia", ValueError), (3, TypeError)])
def test_other_themes(chosen, kind):
    with pytest.raises(kind, match="theme must be"), viz.theme(chosen):
        pass


def test_dark_curves_can_be_told_apart_from_paper():
    paper = lightness(to_rgb(viz.DARK.paper))
    assert all(lightness(to_rgb(color)) - paper > 25 for color in (*viz.DARK.series, viz.DARK.ink, viz.DARK.muted))


def everything(surface, profile):
    """Draw one figure of each kind."""
    rough = np.random.default_rng(0).random((9, 9))
    told = replace(
        surface, provenance={"anchors": [[0, 0], [0.5, 0.5]], "anchor_losses": [1, 2], "path": [[1, 1], [0, 0]]}
    )
    decision = SimpleNamespace(step=1, measurement={"curvature": 2.0}, reason="flat", rates=[0.1])
    yield viz.contour(surface)
    yield viz.surface3d(surface)
    yield viz.line(profile, labels=["a"])
    yield viz.basins(surface)
    yield viz.plane(told, names=["a", "b"])
    yield viz.trajectory(told)
    yield viz.bands({"a": ([0, 1], [[1.0, 2.0], [2.0, 3.0]])})
    yield viz.curves({"a": ([0, 1], [1, 2])}, guides={"b": 1.5})
    yield viz.lr_trace([decision])
    yield viz.spectrum(np.arange(5.0))
    yield viz.layer_sharpness({"a": 1.0, "b": 2.0}, whole=3.0)
    for draw in (viz.persistence_diagram, viz.barcode, viz.merge_tree, viz.persistence_image):
        yield draw(rough)


def test_all_text_is_readable_in_the_dark(surface, profile):
    with viz.theme("dark"):
        for ax in everything(surface, profile):
            assert to_rgb(ax.figure.get_facecolor()) == to_rgb(viz.DARK.paper)
            legend = ax.get_legend()
            texts = [ax.xaxis.label, ax.yaxis.label, *([] if legend is None else legend.get_texts())]
            texts += [label for label in ax.get_xticklabels() if label.get_text()]
            assert {text.get_color() for text in texts} == {viz.DARK.ink}, ax.get_ylabel()
            plt.close(ax.figure)
