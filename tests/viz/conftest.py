"""Surfaces to draw, and a guard: no global setting may change."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from lrscape.landscape import LossSurface, grid, line


@pytest.fixture(autouse=True)
def _guard():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


@pytest.fixture
def surface():
    """A tilted bowl with values in (0, 10), its lowest point at (0.2, -0.4), and an accuracy."""
    points = grid(11)
    u, v = points.coordinates.T
    losses = 0.1 + 2 * (u - 0.2) ** 2 + 3 * (v + 0.4) ** 2
    return LossSurface(
        points.coordinates,
        losses,
        shape=points.shape,
        metrics={"top_1": 1 / (1 + losses)},
        provenance={"norm": "filter", "direction_norms": [2.0, 3.0]},
    )


@pytest.fixture
def profile():
    points = line(9)
    losses = points.coordinates[:, 0] ** 2 + 0.1
    return LossSurface(points.coordinates, losses, shape=points.shape, standard_error=np.full(9, 0.2))


@pytest.fixture
def ax():
    return plt.figure().add_subplot()


@pytest.fixture
def space():
    return plt.figure().add_subplot(projection="3d")
