"""Figures from result objects: each function draws on the given Axes, or on a new figure, and returns the Axes.

``with viz.theme("dark"):`` changes the colours of what is drawn meanwhile. Files other than pictures come from
:func:`to_html`, :func:`animate` and :func:`to_vti`.
"""

from .anchors import plane
from .animation import animate
from .bands import bands
from .barcode import barcode
from .basins import basins
from .compare import compare
from .contour import contour
from .curves import curves
from .diagram import persistence_diagram
from .export import save
from .image import persistence_image
from .interactive import to_html
from .layer_sharpness import layer_sharpness
from .line import line
from .merge_tree import merge_tree
from .multiples import multiples
from .paraview import to_vti
from .spectrum import spectrum
from .style import DARK, LIGHT, Theme, theme
from .surface3d import surface3d
from .trace import lr_trace
from .trajectory import trajectory

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "animate",
    "bands",
    "barcode",
    "basins",
    "compare",
    "contour",
    "curves",
    "layer_sharpness",
    "line",
    "lr_trace",
    "merge_tree",
    "multiples",
    "persistence_diagram",
    "persistence_image",
    "plane",
    "save",
    "spectrum",
    "surface3d",
    "theme",
    "to_html",
    "to_vti",
    "trajectory",
]
