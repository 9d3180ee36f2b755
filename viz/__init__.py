"""Figures from result objects: each function draws on the given Axes, or on a new figure, and returns the Axes."""

from .barcode import barcode
from .basins import basins
from .compare import compare
from .contour import contour
from .curves import curves
from .diagram import persistence_diagram
from .export import save
from .image import persistence_image
from .layer_sharpness import layer_sharpness
from .line import line
from .merge_tree import merge_tree
from .spectrum import spectrum
from .style import LIGHT, Theme
from .surface3d import surface3d
from .trace import lr_trace

__all__ = [
    "LIGHT",
    "Theme",
    "barcode",
    "basins",
    "compare",
    "contour",
    "curves",
    "layer_sharpness",
    "line",
    "lr_trace",
    "merge_tree",
    "persistence_diagram",
    "persistence_image",
    "save",
    "spectrum",
    "surface3d",
]
