"""The numbers and the name beside the heights of a perspective."""

from __future__ import annotations

from typing import Any

import numpy as np

from .keys import room

AIR = 5.0  # between axis, numbers and name, points
TICK, NAME = 8.0, 21.0  # what matplotlib adds to the distances of both that one asks for
SMALLEST = 0.5  # of the box


def place_heights(space: Any, zoom: float) -> None:
    """Put numbers and name of the vertical axis beside it, clear of each other and of the edge.

    The distances that matplotlib asks for have no fixed length on paper, so it is measured what they come to. Where the
    longest number would not fit, the box is drawn smaller.

    Args:
        space: An ``Axes3D`` with its limits, view and labels.
        zoom: Size of the box where they fit.
    """
    figure = space.get_figure(root=True)
    points = 72 / figure.dpi
    unit, off = _measure(space, zoom)
    widest, name = points * _widest(space), points * space.zaxis.label.get_window_extent().width
    # A layout engine gives the Axes the room that is beside it still, and the box grows with it.
    whole = room(space)
    cell = 72 * figure.get_figwidth() * space.get_position(original=True).width
    grows = 1.0 if figure.get_layout_engine() is None else max(1.0, whole / cell)
    fits = (whole / 2 - (3 * AIR + widest + name)) / (grows * max(off, 1.0))
    if fits < 1:
        unit, _ = _measure(space, max(SMALLEST, fits * zoom))
    space.tick_params(axis="z", pad=(AIR + widest / 2) / unit - TICK)
    space.zaxis.labelpad = (2 * AIR + widest + name / 2) / unit - NAME


def _measure(space: Any, zoom: float) -> tuple[float, float]:
    """Set the size of the box; measure a unit of distance, and how far off the middle the axis stands, in points."""
    space.set_box_aspect((1, 1, 0.75), zoom=zoom)
    space.apply_aspect()
    space.M = space.get_proj()  # as when it is drawn
    axis = space.zaxis
    axis.get_tightbbox()  # places what belongs to the axis
    places = space.transData.transform([np.mean(axis.line.get_xydata(), axis=0), axis.label.get_position()])
    line, name = places[:, 0] * 72 / space.get_figure(root=True).dpi
    middle = (space.bbox.x0 + space.bbox.x1) / 2 * 72 / space.get_figure(root=True).dpi
    return max(float(abs(name - line)) / (axis.labelpad + NAME), 1e-3), float(abs(line - middle))


def _widest(space: Any) -> float:
    widths = [0.0]
    for label in space.get_zticklabels():
        label.set_position((0, 0))  # until it is drawn; far out, at a value of 1e30, say, the width would be lost
        widths.append(label.get_window_extent().width)
    return max(widths)
