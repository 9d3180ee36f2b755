"""
The merge tree
==============

Which basin joins which, at what loss.
"""

from trained import minima_surface

from lrscape import viz

viz.merge_tree(minima_surface(), log=True)
