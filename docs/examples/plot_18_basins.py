"""
Basins on the contour
=====================

Where each basin reaches before it joins another, and the lowest passes between them.
"""

from trained import minima_surface

from lrscape import viz

viz.basins(minima_surface(), log=True)
