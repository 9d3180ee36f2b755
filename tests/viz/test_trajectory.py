"""A run on its principal plane: path, dots, names, and what share the axes hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lrscape import landscape, viz
from lrscape.viz.trajectory import spread


@pytest.fixture
def run():
    """Six checkpoints in a plane of three dimensions."""
    places = torch.tensor([
        [3.0, 2.0, 0.1],
        [2.0, 0.5, 0.0],
        [1.0, 0.2, 0.1],
        [0.5, 0.1, 0.0],
        [0.1, 0.0, 0.0],
        [0.0] * 3,
    ])
    return landscape.trajectory(nn.Linear(3, 1, bias=False), [{"weight": place[None]} for place in places])


@pytest.fixture
def measured(run):
    surface = landscape.evaluate(run.model, lambda: (run.model.weight**2).sum() + 1, run.directions, run.points(7))
    told = {"path": run.path.tolist(), "path_checkpoints": [f"runs/epoch_{i}.pt" for i in range(6)]}
    return replace(surface, provenance={**surface.provenance, **told})


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_axes_say_what_they_explain(run, measured):
    first, second = (f"{100 * share:.3g}" for share in run.explained_variance)
    for ax in (viz.trajectory(measured), viz.trajectory(measured.values, run=run, axes=measured.axes)):
        assert ax.get_xlabel() == f"direction 1 ({first} % of variance)"
        assert ax.get_ylabel() == f"direction 2 ({second} % of variance)"


def test_path_has_a_dot_at_each_checkpoint(run, measured, ax):
    assert viz.trajectory(measured, ax) is ax
    line, dots, square = (found for found in ax.lines if found.get_zorder() == 3)
    assert line.get_xydata() == pytest.approx(run.path)
    assert dots.get_xydata() == pytest.approx(run.path[1:-1])
    assert square.get_xydata() == pytest.approx(run.path[:1])


def test_names_come_from_the_provenance_or_are_given(run, measured):
    assert {"epoch_0", "epoch_5"} <= set(texts(viz.trajectory(measured)))
    assert texts(viz.trajectory(measured, named=0)) == []
    assert texts(viz.trajectory(measured, run=run, named=1)) == ["5"]
    assert texts(viz.trajectory(measured, names=["a$b", *"_bcde"], named=2)) == ["e", r"a\$b"]


def test_a_long_path_has_fewer_dots(surface):
    path = np.stack([np.linspace(-1, 1, 200), np.zeros(200)], axis=1)
    ax = viz.trajectory(surface, path=path)
    line, dots, _ = (found for found in ax.lines if found.get_zorder() == 3)
    assert line.get_label() == "path (from the square; a dot every 4th)"
    assert dots.get_xydata() == pytest.approx(path[4:-1:4])


def test_names_that_would_collide_are_left_out(surface):
    path = [[-0.9, 0.0], [0.0, 0.0], [0.001, 0.0], [0.002, 0.0]]
    assert texts(viz.trajectory(surface, path=path, named=4)) == ["3", "0"]


def test_spread_is_by_length():
    track = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [10.0, 0.0], [20.0, 0.0]])
    assert spread(track, 3) == [4, 0, 3]
    assert spread(track, 1) == [4]
    assert spread(track[:1], 5) == [0]


def test_bad_arguments(surface, run):
    with pytest.raises(ValueError, match="which this surface does not tell; pass run="):
        viz.trajectory(surface)
    with pytest.raises(TypeError, match=r"run must come from landscape\.trajectory, got str"):
        viz.trajectory(surface, run="run")
    with pytest.raises(ValueError, match="names must name each of the 6"):
        viz.trajectory(surface, run=run, names=["a"])
    with pytest.raises(ValueError, match="path must hold"):
        viz.trajectory(surface, path=[1.0])
