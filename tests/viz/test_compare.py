"""Several landscapes in one figure."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from lrscape import viz


def test_panels_share_their_colours(surface):
    other = replace(surface, losses=10 * surface.losses)
    figure = viz.compare([surface, other, surface, other], labels=["a", "b_1", "c", "d"], log=True)
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b_1", "c", "d"]
    norms = [ax.collections[0].norm for ax in figure.axes]
    (ends,) = {(norm.vmin, norm.vmax) for norm in norms}  # of the logarithms
    assert ends == pytest.approx(tuple(np.log10([surface.losses.min(), other.losses.max()])))
    assert [len(ax.child_axes) for ax in figure.axes] == [0, 0, 1, 0]


def test_profiles_are_drawn_over_each_other(profile):
    figure = viz.compare([profile, replace(profile, losses=profile.losses + 1)])
    (ax,) = figure.axes
    assert {"surface 1", "surface 2"} <= {line.get_label() for line in ax.lines}


def test_paths_and_metrics(surface):
    path = [[0.5, 0.5], [0.0, 0.0]]
    with_path = replace(surface, provenance={**surface.provenance, "path": path})
    figure = viz.compare([with_path, surface], metric="top_1")
    first, second = figure.axes
    assert len(first.lines) == len(second.lines) + 2
    assert second.child_axes[0].get_ylabel() == "top 1"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: ([], None), "at least one"),
        (lambda s: ([s, s], ["a"]), "labels must name each of the 2"),
        (lambda s: ([s, s], "ab"), "labels must name each of the 2"),
        (lambda s: ([replace(s, losses=np.full(121, np.nan))] * 2, ["a", "b"]), "none of the 242 values of loss"),
    ],
)
def test_what_cannot_be_drawn(surface, change, match):
    surfaces, labels = change(surface)
    with pytest.raises(ValueError, match=match):
        viz.compare(surfaces, labels=labels)


def test_other_kinds(surface, profile):
    with pytest.raises(TypeError, match=r"LossSurface, got ndarray"):
        viz.compare([surface.losses])
    with pytest.raises(ValueError, match="got 1-D and 2-D"):
        viz.compare([surface, profile])


def test_perspectives_share_their_heights(surface):
    figure = viz.compare([surface, replace(surface, losses=2 * surface.losses)], kind="surface", labels=["_a", "b"])
    assert [ax.name for ax in figure.axes] == ["3d", "3d"]
    assert figure.axes[0].get_zlim() == figure.axes[1].get_zlim()
    assert figure.axes[0].get_title() == " _a"
    with pytest.raises(ValueError, match="kind must be"):
        viz.compare([surface], kind="3d")


def test_arrays(surface):
    u = np.linspace(-1, 1, 5)
    bowl = u[:, None] ** 2 + u**2
    assert len(viz.compare([bowl, bowl], axes=(u, u)).axes) == 2
    assert len(viz.compare([u**2, u**4], axes=(u,)).axes) == 1


@pytest.mark.parametrize("kind", ["contour", "surface"])
def test_names_and_legends_fit(surface, kind):
    run = "another_very_long_run_name_lr0.003_wd0.05_seed1234_epoch_0100_step_"
    losses = surface.losses.copy()
    losses[:3] = np.nan
    full = replace(surface, losses=losses, provenance={**surface.provenance, "path": [[0.5, 0.5], [0.0, 0.0]]})
    figure = viz.compare([surface, full], labels=[run + "1.npz", run + "2.npz"], kind=kind)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["…1.npz", "…2.npz"]
    figure.canvas.draw()
    box, (wide, tall) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, wide - box.x1, tall - box.y1) >= 0
    if kind == "contour":  # the longer legend takes nothing from the panels
        assert tall > viz.compare([surface, surface]).get_figheight()


def test_a_panel_without_a_finite_value_is_hatched(surface):
    lost = replace(surface, losses=np.full(121, np.inf))
    figure = viz.compare([surface, lost], labels=["a", "b"], log=True)
    assert [len(ax.patches) for ax in figure.axes[:2]] == [0, 1]
    texts = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert texts == ["centre: loss not finite", "not finite (121 points)"]
    hollow = viz.compare([surface, lost], labels=["a", "b"], kind="surface")
    assert [text.get_text() for text in hollow.axes[1].texts] == ["hole: 121 points not finite"]
