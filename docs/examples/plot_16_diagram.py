"""
The persistence diagram of a plane through three minima
=======================================================

Every basin is born at its lowest point and dies where it joins a deeper one. Only what lies above the noise of the
estimate counts.
"""

from trained import minima_surface

from lrscape import viz

viz.persistence_diagram(minima_surface(), log=True)
