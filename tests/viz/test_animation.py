"""Films: as many pictures as checkpoints, fixed colours, whole or absent."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import animation
from matplotlib import pyplot as plt
from PIL import Image

from lrscape import viz
from lrscape.viz.run_curves import draw_curve, read_curve


@pytest.fixture
def run(surface):
    return [replace(surface, losses=surface.losses * (3 - k)) for k in range(3)]


def pictures(path):
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            yield np.asarray(film.convert("RGB")).astype(int)


def test_a_picture_for_each_checkpoint(run, tmp_path):
    path = viz.animate(run, tmp_path / "run.gif", steps=[0, 50, 100], rates=[0.1, 0.05, 0.01], log=True, dpi=40)
    assert path == tmp_path / "run.gif"
    with Image.open(path) as film:
        assert (film.n_frames, film.info["duration"], film.size) == (3, 200, (320, 152))
    first, second, third = pictures(path)
    assert (first != second).any()
    assert (second != third).any()
    assert [item.name for item in tmp_path.iterdir()] == ["run.gif"]
    assert not plt.get_fignums()


def test_steps_of_long_runs_are_told_apart(run, tmp_path, monkeypatch):
    titles = []
    grab = animation.PillowWriter.grab_frame
    monkeypatch.setattr(
        animation.PillowWriter,
        "grab_frame",
        lambda self, **options: titles.append(self.fig.axes[0].get_title()) or grab(self, **options),
    )
    viz.animate(run, tmp_path / "run.gif", steps=[0, 1_234_567, 1_234_568], dpi=30)
    assert titles == ["step 0", "step 1234567", "step 1234568"]


def test_what_does_not_change_does_not_move(run, tmp_path):
    still = viz.animate([run[0]] * 2, tmp_path / "still.gif", losses=[1.0, 1.0], dpi=40)
    first, second = pictures(still)
    changed = (abs(first - second) > 100).any(axis=2)  # each picture has its own 256 colours
    assert changed.any()  # the title and the dot
    assert not changed[20:, :130].any()  # nothing below the title of the landscape


def test_a_path_over_one_landscape(surface, tmp_path):
    track = [[1.0, 1.0], [0.5, 0.2], [0.0, 0.0], [0.1, -0.1]]
    path = viz.animate(surface, tmp_path / "track.gif", track=track, dpi=30, fps=2)
    found = list(pictures(path))
    assert len(found) == 4
    assert found[0].shape[1] == 138  # no curve beside it


def test_perspective_and_arrays(tmp_path):
    u = np.linspace(-1, 1, 5)
    bowls = [k + u[:, None] ** 2 + u**2 for k in range(2)]
    assert len(list(pictures(viz.animate(bowls, tmp_path / "a.gif", axes=(u, u), kind="surface", dpi=30)))) == 2


def test_mp4_needs_ffmpeg(run, tmp_path, monkeypatch):
    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(RuntimeError, match=r"program ffmpeg, which is not on the PATH.*write a \.gif"):
        viz.animate(run, tmp_path / "run.mp4")
    assert not list(tmp_path.iterdir())
    assert not plt.get_fignums()


@pytest.mark.skipif(not animation.FFMpegWriter.isAvailable(), reason="the program ffmpeg is not on the PATH")
def test_mp4(run, tmp_path):
    data = viz.animate(run, tmp_path / "run.mp4", dpi=33).read_bytes()
    assert data[4:8] == b"ftyp"
    assert len(data) > 1000


def test_a_failure_leaves_the_older_film(run, tmp_path, monkeypatch):
    path = tmp_path / "run.gif"
    path.write_bytes(b"older")

    def full(self, **_):
        raise OSError("no space left")

    monkeypatch.setattr(animation.PillowWriter, "grab_frame", full)
    with pytest.raises(OSError, match="no space left"):
        viz.animate(run, path, dpi=30)
    assert path.read_bytes() == b"older"
    assert not plt.get_fignums()


def test_bad_arguments(run, tmp_path):
    for surfaces, name, options, match in [
        (run, "a.avi", {}, r"must end in \.gif or \.mp4"),
        ([], "a.gif", {}, "at least one"),
        (run, "a.gif", {"kind": "line"}, "kind must be"),
        (run, "a.gif", {"fps": 0}, "fps must be a positive"),
        (run, "a.gif", {"track": [[0, 0], [1, 1]]}, "track must have a point for each of the 3"),
        (run, "a.gif", {"steps": [0, 2, 1]}, r"steps must be 3 ascending .* got \[0\.0, 2\.0, 1\.0\]"),
        (run, "a.gif", {"steps": [0, 2]}, r"steps must be 3 ascending .* got shape \(2,\)"),
        (run, "a.gif", {"rates": [0.1]}, "a learning rate is needed for each of the 3"),
        (run, "a.gif", {"losses": [np.nan] * 3}, "none of the 3 values of the loss is finite"),
    ]:
        with pytest.raises(ValueError, match=match):
            viz.animate(surfaces, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())
    assert not plt.get_fignums()


def test_curves_are_read_from_values_pairs_and_schedulers():
    times = np.array([0.0, 10.0, 20.0])
    assert read_curve([1, 2, 3], times, "loss").steps.tolist() == [0, 10, 20]
    assert read_curve(([0, 5], [1, 2]), times, "loss").values.tolist() == [1, 2]
    decisions = [SimpleNamespace(step=5, measurement={}, reason="flat", rates=[0.1, 0.2])]
    read = read_curve(SimpleNamespace(history=decisions), times, "learning rate")
    assert (read.steps.tolist(), read.values.tolist(), read.held) == ([5.0], [0.1], True)
    with pytest.raises(ValueError, match="history is empty"):
        read_curve(SimpleNamespace(history=[]), times, "learning rate")
    with pytest.raises(ValueError, match="must ascend"):
        read_curve(([5, 0], [1, 2]), times, "loss")


@pytest.mark.parametrize(("name", "expected"), [("loss", 2.5), ("learning rate", 2.0)])
def test_a_dot_lies_on_its_curve(ax, name, expected):
    curve = read_curve(([0, 10, 20], [1.0, 2.0, 3.0]), np.array([0.0]), name)
    move = draw_curve(ax, curve, np.array([0.0, 20.0]), viz.LIGHT, "step")
    move(15.0)
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (15.0, expected)
