import json
import os
import stat
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from torch.nn import Linear

from lrscape.landscape import Directions, LossSurface, grid, load_checkpoint, read_checkpoint
from lrscape.landscape.files import atomic_write


def surface(n=5, dims=2):
    made = grid(n, 0.5, dims)
    losses = (made.coordinates**2).sum(1) + 1
    return LossSurface(
        made.coordinates, losses, made.shape, {"accuracy": losses * 0.1}, losses * 0.01, {"seed": 3, "norm": "filter"}
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_saved_and_loaded_surface_is_bitwise_the_same(tmp_path, dims):
    made = surface(dims=dims)
    made.losses[1] = np.nan
    path = tmp_path / "any name.npz"
    made.save(path)
    back = LossSurface.load(path)
    for name in ("coordinates", "losses", "standard_error"):
        assert getattr(back, name).tobytes() == getattr(made, name).tobytes()
    assert back.metrics["accuracy"].tobytes() == made.metrics["accuracy"].tobytes()
    assert back.shape == made.shape
    assert back.provenance == made.provenance
    assert [p.name for p in tmp_path.iterdir()] == ["any name.npz"]


def test_axes_values_centre_and_minimum():
    made = surface()
    assert made.values.shape == (5, 5)
    assert made.axes[0].tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert made.center == 1
    assert made.values[0, 4] == made.losses[4]
    made.losses[7] = 0.25
    made.losses[8] = np.nan
    where, value = made.minimum
    assert value == 0.25
    assert where.tolist() == made.coordinates[7].tolist()
    assert np.isnan(LossSurface(made.coordinates + 1, made.losses).center)
    with pytest.raises(ValueError, match="do not form a grid"):
        _ = LossSurface(made.coordinates, made.losses).axes
    with pytest.raises(ValueError, match="no minimum"):
        _ = LossSurface(made.coordinates, made.losses * np.nan).minimum


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", b"PK\x03\x04 truncated", None, "array", "object", "foreign", "newer"]
)
def test_what_is_not_a_surface_is_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is None:
        surface().save(path)
        path.write_bytes(path.read_bytes()[:-300])
    elif content == "array":
        with path.open("wb") as file:
            np.save(file, np.ones(3))
    elif content == "object":
        with path.open("wb") as file:
            np.savez(file, header=np.array([{"schema": 1}], dtype=object))
    elif content == "foreign":
        with path.open("wb") as file:
            np.savez(file, a=np.ones(3))
    elif content == "newer":
        header = np.frombuffer(json.dumps({"schema": 99}).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez(file, header=header)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz is not a loss surface"):
        LossSurface.load(path)


def test_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.npz; check the path, relative to "):
        LossSurface.load(tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match=r"there is no file absent\.npz; check"):
        Directions.load("absent.npz")


@pytest.mark.parametrize(
    "load", [LossSurface.load, Directions.load, read_checkpoint, partial(load_checkpoint, Linear(1, 1))]
)
def test_what_is_no_name_of_a_file_is_named(load):
    with pytest.raises(TypeError, match=r"^path must be the name of a file \(a str or Path\), got BytesIO; write what"):
        load(BytesIO())


def test_weights_in_memory_are_sent_to_load_state_dict():
    model = Linear(1, 1)
    with pytest.raises(TypeError, match=r"^path must be .*, got OrderedDict; a state dict .* model\.load_state_dict$"):
        load_checkpoint(model, model.state_dict())


def test_a_surface_prints_as_one_line():
    made = surface()
    assert repr(made) == "LossSurface(5×5, center=1, lowest=1)"
    assert "none finite" in repr(LossSurface(made.coordinates, made.losses * np.nan))


def test_shapes_are_checked():
    made = grid(3)
    with pytest.raises(ValueError, match=r"got \(9, 2\) and \(8,\)"):
        LossSurface(made.coordinates, np.ones(8))
    with pytest.raises(ValueError, match="metrics accuracy must have shape"):
        LossSurface(made.coordinates, np.ones(9), metrics={"accuracy": np.ones(3)})
    with pytest.raises(ValueError, match="does not hold 9 points"):
        LossSurface(made.coordinates, np.ones(9), shape=(2, 4))


def test_write_is_whole_or_absent(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_unwritable_places_are_named(tmp_path):
    made = surface()
    with pytest.raises(OSError, match="choose a folder that exists"):
        made.save(tmp_path / "absent" / "surface.npz")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        made.save(tmp_path)
