"""
The same as a barcode
=====================

One bar per basin, from birth to death. The longest never dies: it is the deepest basin.
"""

from trained import minima_surface

from lrscape import viz

viz.barcode(minima_surface(), log=True)
