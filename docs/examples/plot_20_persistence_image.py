"""
What TopoCNN sees
=================

The persistence image on a log-ratio scale, which is what a small network of the TopoAdamW paper decides by, in the
corrected form. Three basins, all of them far below the loss at their passes, end up in one corner.
"""

from trained import minima_surface

from lrscape import viz

viz.persistence_image(minima_surface())
