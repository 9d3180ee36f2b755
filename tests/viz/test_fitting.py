"""Figures grow to hold what is in them, and no further."""

import pytest
from matplotlib.figure import Figure

from lrscape.viz.fitting import fit


def test_what_fits_stays_as_it_is():
    figure = Figure(figsize=(3, 2))
    figure.text(0.5, 0.5, "text", ha="center")
    fit(figure)
    assert figure.get_size_inches().tolist() == [3, 2]


@pytest.mark.parametrize("projection", [None, "3d"])
def test_what_does_not_gets_room(projection):
    figure = Figure(figsize=(2, 2), layout="constrained")
    ax = figure.add_subplot(projection=projection)
    ax.set_title("a title that is far longer than two inches")
    fit(figure)
    assert figure.get_figwidth() > 2
    figure.draw_without_rendering()
    box, (wide, tall) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0, wide - box.x1, tall - box.y1) >= 0
