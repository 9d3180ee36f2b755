"""
The same loss, in perspective
=============================

The height is logarithmic too: on a linear scale the rim would hide what happens in the valley.
"""

from trained import network, objective

from lrscape import landscape, viz

model, _ = network()
directions = landscape.random_directions(model, 2, norm="filter", seed=0)
surface = landscape.evaluate(model, objective(), directions, landscape.grid(41, span=1.0))
viz.surface3d(surface, log=True)
