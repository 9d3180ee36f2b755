"""Figures from result objects: each function draws on the given Axes, or on a new figure, and returns the Axes."""

from .contour import contour
from .curves import curves
from .export import save
from .line import line
from .style import LIGHT, Theme
from .surface3d import surface3d
from .trace import lr_trace

__all__ = ["LIGHT", "Theme", "contour", "curves", "line", "lr_trace", "save", "surface3d"]
